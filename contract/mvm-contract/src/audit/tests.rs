use super::*;

#[test]
fn a_log_has_a_plain_name() {
    let read = |text: &str| LogId::try_from(text.to_owned()).map(|log| log.as_str().to_owned());
    let good = "0123456789abcdef".repeat(2);
    assert_eq!(read(&good), Ok(good.clone()));
    let log = LogId::from_random(u128::MAX);
    assert_eq!(read(log.as_str()), Ok("f".repeat(32)));
    for text in [
        "",
        &good[1..],
        &good.to_uppercase(),
        &"/".repeat(32),
        &"g".repeat(32),
    ] {
        assert_eq!(read(text), Err(LogIdError), "{text}");
    }
}

#[test]
fn a_line_is_read_up_to_its_longest() {
    let key = SigningKey::from_seed(&[1; 32]);
    let line = |principal: usize| {
        let mut event = Event::new(EventKind::PlanAdmitted);
        event.principal = Some("p".repeat(principal));
        let chain = Chain::start(LogId::from_random(1), None);
        let (mut line, _) = chain.append(event, 1, &key).unwrap();
        line.pop();
        line
    };
    let longest = MAX_LINE_BYTES - line(0).len();
    assert_eq!(MAX_LINE_BYTES, 16_384);
    let read = SignedRecord::read(&line(longest)).unwrap();
    assert!(read.verified_bytes(&key.public_key()).is_some());
    assert_eq!(SignedRecord::read(&line(longest + 1)), None);
}

#[test]
fn a_chain_can_be_put_away_and_taken_up() {
    let key = SigningKey::from_seed(&[1; 32]);
    let first = Chain::start(LogId::from_random(1), Some(Digest::of(b"before")));
    assert_eq!(first.last(), Digest::of(b"before"));
    let (_, chain) = first
        .append(Event::new(EventKind::LogOpened), 1, &key)
        .unwrap();
    assert_eq!((first.records(), chain.records()), (0, 1));
    assert_eq!(chain.log(), first.log());
    let text = serde_json::to_string(&chain).unwrap();
    assert_eq!(serde_json::from_str::<Chain>(&text).unwrap(), chain);
}
