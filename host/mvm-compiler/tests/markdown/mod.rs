//! Markdown with fenced blocks, read and written without a change.
#![allow(dead_code, reason = "each test file uses a part of it")]

/// A heading with what follows it.
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) blocks: Vec<Block>,
    /// What follows the last block.
    pub(crate) after: String,
}

/// A fenced block.
pub(crate) struct Block {
    /// What stands before it, since the last block or the beginning of the section.
    pub(crate) before: String,
    /// What follows the fence.
    pub(crate) info: String,
    /// Its lines, each with its end.
    pub(crate) text: String,
}

/// Reads sections. What comes before the first `##` is one, too.
pub(crate) fn parse(text: &str) -> Vec<Section> {
    let mut sections = vec![Section {
        title: String::new(),
        blocks: Vec::new(),
        after: String::new(),
    }];
    let mut lines = text.split_inclusive('\n');
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push(Section {
                title: title.trim().to_owned(),
                blocks: Vec::new(),
                after: line.to_owned(),
            });
            continue;
        }
        let section = sections.last_mut().unwrap();
        let Some(info) = line.strip_prefix("```") else {
            section.after.push_str(line);
            continue;
        };
        let inside = lines.by_ref().take_while(|line| line.trim_end() != "```");
        let text = inside.collect();
        section.blocks.push(Block {
            before: std::mem::take(&mut section.after),
            info: info.trim().to_owned(),
            text,
        });
    }
    sections
}

/// Writes sections.
pub(crate) fn write(sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        for block in &section.blocks {
            text.push_str(&block.before);
            text.push_str(&format!("```{}\n{}```\n", block.info, block.text));
        }
        text.push_str(&section.after);
    }
    text
}
