//! Every attack is denied under its own rule; every good plan is admitted; and the rules, their
//! document and the attacks are the same list.

use std::{collections::BTreeSet, fs};

use mvm_admission::{Admission, Rule};
use mvm_contract::plan::LaunchPath;

use crate::corpus::{self, Case};

#[test]
fn every_attack_is_denied_under_its_own_rule() {
    let attacks = corpus::attacks();
    let mut wrong = Vec::new();
    for (name, case) in &attacks {
        match case.build().admit() {
            Admission::Denied(denial) if denial.rule.to_string() == case.rule => {
                let text = format!("{}{}", denial.reason, denial.remedy);
                assert!(!text.contains(char::is_control), "{name}: {text:?}");
                assert!(text.len() < 1000, "{name}: {text}");
            }
            Admission::Denied(denial) => wrong.push(format!(
                "{name}: denied under {}, not {}: {}",
                denial.rule, case.rule, denial.reason
            )),
            Admission::Admitted(_) => wrong.push(format!("{name}: admitted")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(attacks.len() >= 40, "{} attacks", attacks.len());
}

#[test]
fn every_attack_is_denied_under_its_own_rule_on_every_way_of_launching() {
    let mut judged = 0;
    for (name, case) in &corpus::attacks() {
        for path in LaunchPath::ALL {
            if case.is_of_one_path() {
                continue;
            }
            match case.build_for(Some(path)).admit() {
                Admission::Denied(denial) => {
                    assert_eq!(denial.rule.to_string(), case.rule, "{name} by {path:?}");
                }
                Admission::Admitted(_) => panic!("{name} is admitted by {path:?}"),
            }
            judged += 1;
        }
    }
    assert!(judged >= 6 * 40, "{judged}");
    for path in LaunchPath::ALL {
        let plain = Case::default().build_for(Some(path));
        assert!(matches!(plain.admit(), Admission::Admitted(_)), "{path:?}");
    }
}

#[test]
fn every_good_plan_is_admitted() {
    for (name, case) in corpus::good_plans() {
        assert!(!case.plan.is_empty(), "{name} says what it is");
        let built = case.build();
        match built.admit() {
            Admission::Admitted(admitted) => {
                assert_eq!(admitted.isolation(), built.host.isolation, "{name}");
            }
            Admission::Denied(denial) => {
                panic!("{name}: {} {}", denial.rule, denial.reason)
            }
        }
    }
}

#[test]
fn rules_document_and_attacks_are_one_list() {
    let path = corpus::repository().join("host/mvm-admission/RULES.md");
    let document = fs::read_to_string(path).unwrap();
    let documented: Vec<(String, String)> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| A-"))
        .map(|line| {
            let mut cells = line.split(" | ");
            let number = format!("A-{}", cells.next().unwrap());
            (number, cells.next().unwrap().trim_matches('`').to_owned())
        })
        .collect();
    let rules: Vec<(String, String)> = Rule::ALL
        .iter()
        .map(|rule| (rule.to_string(), format!("{rule:?}")))
        .collect();
    assert_eq!(documented, rules);
    assert!(Rule::ALL.is_sorted_by_key(|rule| rule.number()));

    let attacked: BTreeSet<String> = corpus::attacks()
        .into_iter()
        .map(|(name, case)| {
            assert!(!case.attack.is_empty(), "{name} says what is done");
            case.rule
        })
        .collect();
    let numbers: BTreeSet<String> = rules.into_iter().map(|(number, _)| number).collect();
    assert_eq!(attacked, numbers, "every rule has an attack");
}

#[test]
fn every_remedy_is_a_phrase() {
    for rule in Rule::ALL {
        let remedy = rule.remedy();
        let first = remedy.chars().next().unwrap();
        assert!(first.is_lowercase() && !remedy.ends_with('.'), "{rule}");
    }
}
