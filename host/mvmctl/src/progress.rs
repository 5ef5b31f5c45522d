//! Progress: a bar or spinner on a terminal, plain lines elsewhere, nothing when quiet.

use std::{
    io::IsTerminal as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mvm_runtime::Progress;

use crate::output;

/// A stage that is over sooner is not shown on a terminal.
const TERMINAL_PATIENCE: Duration = Duration::from_millis(300);
/// A stage of a command's start that is over sooner is not written where lines stay: a script's
/// standard error holds its command's words, and ours only when something is amiss.
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(10);
/// The same for work that was asked for by itself.
pub(crate) const WORK_PATIENCE: Duration = Duration::from_secs(1);

/// Where progress is shown.
#[derive(Clone)]
pub(crate) enum Display {
    Quiet,
    Lines(Arc<Mutex<Option<Line>>>, Duration),
    Terminal(Arc<Mutex<Option<Bar>>>),
}

/// A stage that is written when it takes long.
pub(crate) struct Line {
    name: String,
    begun: Instant,
}

/// A stage that is drawn.
pub(crate) struct Bar {
    bar: ProgressBar,
    begun: Instant,
    drawn: bool,
}

impl Display {
    /// Where lines stay, a stage is written when it takes longer than `patience`.
    pub(crate) fn new(quiet: bool, patience: Duration) -> Self {
        if quiet {
            Self::Quiet
        } else if std::io::stderr().is_terminal() {
            Self::Terminal(Arc::default())
        } else {
            Self::Lines(Arc::default(), patience)
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    /// Begins a stage and writes its name if it is still going on when patience ends.
    fn begin(current: &Arc<Mutex<Option<Self>>>, patience: Duration, name: &str) {
        let begun = Instant::now();
        *lock(current) = Some(Self {
            name: name.to_owned(),
            begun,
        });
        let current = Arc::clone(current);
        std::thread::spawn(move || {
            std::thread::sleep(patience);
            if let Some(line) = lock(&current).as_ref().filter(|line| line.begun == begun) {
                output::talk(format_args!("{} ...", line.name));
            }
        });
    }
}

impl Bar {
    fn begin(name: &str, total: Option<u64>) -> Self {
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        };
        bar.set_draw_target(ProgressDrawTarget::hidden());
        let template = match total {
            Some(_) => "{msg} [{bar:30}] {bytes}/{total_bytes} {eta}",
            None => "{spinner} {msg} {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(name.to_owned());
        let mut stage = Self {
            bar,
            begun: Instant::now(),
            drawn: false,
        };
        if total.is_none() {
            // Nothing will advance it, so it cannot wait for its moment.
            stage.draw();
        }
        stage
    }

    fn draw(&mut self) {
        self.drawn = true;
        self.bar.set_draw_target(ProgressDrawTarget::stderr());
        self.bar.enable_steady_tick(Duration::from_millis(120));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Display {
    fn stage(&self, stage: &str, total: Option<u64>) {
        match self {
            Self::Quiet => {}
            Self::Lines(current, patience) => Line::begin(current, *patience, stage),
            Self::Terminal(current) => {
                let mut current = lock(current);
                drop(current.take());
                *current = Some(Bar::begin(stage, total));
            }
        }
    }

    fn advance(&self, amount: u64) {
        if let Self::Terminal(current) = self
            && let Some(stage) = lock(current).as_mut()
        {
            stage.bar.inc(amount);
            if !stage.drawn && stage.begun.elapsed() > TERMINAL_PATIENCE {
                stage.draw();
            }
        }
    }

    fn finish(&self) {
        match self {
            Self::Quiet => {}
            Self::Lines(current, _) => *lock(current) = None,
            Self::Terminal(current) => *lock(current) = None,
        }
    }

    fn note(&self, text: &str) {
        let line = output::printable(text);
        match self {
            Self::Quiet => {}
            Self::Lines(..) => output::talk(format_args!("{line}")),
            Self::Terminal(current) => match lock(current).as_ref() {
                Some(stage) => stage.bar.suspend(|| output::talk(format_args!("{line}"))),
                None => output::talk(format_args!("{line}")),
            },
        }
    }
}
