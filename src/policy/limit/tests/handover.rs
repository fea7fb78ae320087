//! Counters that move to another process, through one [`Pair`]: two limiters whose clocks began at different times.

use std::io::ErrorKind;
use std::sync::mpsc::{Receiver, channel};

use proptest::prelude::*;

use super::super::handover::wire::{Leaving, Taking};
use super::super::handover::{Answer, Demands, Left, Line, Predecessor, Saying, Whose};
use super::super::{Decided, Limiter, Moved, Permit};
use super::{Claim, Desk, Limit, SECOND, Subject, Unit, alice, concurrency, quota, rate};

/// Where the clocks of the two begin, in nanoseconds of the machine's.
const EPOCHS: [u64; 2] = [1_000 * SECOND, 5_000 * SECOND + 7];

/// A process that leaves and the one that takes over.
struct Pair {
    old: Desk,
    new: Desk,
    predecessor: Predecessor,
    said: Receiver<Saying>,
    line: Line,
    questions: u64,
}

impl Pair {
    /// Hands all counters of an [`old`] desk over, as bytes.
    fn of(old: Desk) -> Self {
        let mut new = Desk::new();
        new.now = super::Now { monotonic: 10_000 * SECOND - EPOCHS[1], ..old.now };
        let (out, said) = channel();
        let line = Line::new(1, out);
        let mut predecessor = Predecessor::new(new.limiter.clone());
        for shard in 0..Limiter::shards() {
            let page = Leaving::Page(old.limiter.hand_over(shard, &line, EPOCHS[0], old.now));
            let Leaving::Page(page) = there(&page) else { panic!("no page") };
            predecessor.restore(&page, EPOCHS[1], new.now);
        }
        Self { old, new, predecessor, said, line, questions: 0 }
    }

    fn wait(&mut self, seconds: u64) {
        self.old.wait(seconds);
        self.new.wait(seconds);
    }

    /// A request of the old process: what the new one says, and what the old one keeps of it.
    fn ask(&mut self, claims: &[Claim<'_>]) -> (Answer, Permit) {
        assert_eq!(self.old.limiter.decide(claims, self.old.now).map(|_| ()), Err(Moved));
        let (id, demands) = (self.questions, self.old.limiter.demands(claims, self.old.now));
        self.questions += 1;
        let asked = Leaving::Saying(Saying::Question { id, demands });
        let Leaving::Saying(Saying::Question { demands, .. }) = there(&asked) else { panic!("no question") };
        let answer = self.predecessor.answer(id, &demands, self.new.now).unwrap();
        let Taking::Answer { answer, .. } = back(&Taking::Answer { id, answer }) else { panic!("no answer") };
        let permit = match answer.is_grant() {
            true => self.old.limiter.mirror(&demands, Whose::Own, self.line.asked(id), self.old.now),
            false => Permit::default(),
        };
        (answer, permit)
    }

    /// What is left after one more request of the old process, or how long it waits.
    fn ask_one(&mut self, limit: &Limit, subject: Subject, cost: u32) -> Result<u64, u32> {
        let claims = [Claim { limit, subject, cost }];
        let (answer, permit) = self.ask(&claims);
        let decided = answer.decided(&claims, permit).expect("an answer to the question");
        decided.map(|granted| granted.standings[0].remaining).map_err(|refused| refused.retry_after_seconds)
    }

    /// The new process hears what the old one has said.
    fn hear(&mut self) {
        while let Ok(Saying::Left(left)) = self.said.try_recv() {
            let said = Leaving::Saying(Saying::Left(left));
            let Leaving::Saying(Saying::Left(left)) = there(&said) else { panic!("no place left") };
            self.predecessor.left(left);
        }
    }
}

/// The desk of a process that has been there for a while: the machine's clock is 10,000 seconds on.
fn old(consumers: usize) -> Desk {
    let mut desk = Desk::with_capacity(consumers, 4096).at("2025-06-10T12:00:00Z");
    desk.now.monotonic = 10_000 * SECOND - EPOCHS[0];
    desk
}

/// The same after it has travelled.
fn there(said: &Leaving) -> Leaving {
    let mut bytes = Vec::new();
    said.write(&mut bytes);
    let (mut all, mut cut) = (&bytes[..], &bytes[..bytes.len() - 1]);
    assert_eq!(Leaving::read(&mut cut).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    let read = Leaving::read(&mut all).expect("it was written so");
    assert!(all.is_empty());
    assert_eq!(&read, said);
    read
}

fn back(said: &Taking) -> Taking {
    let mut bytes = Vec::new();
    said.write(&mut bytes);
    let (mut all, mut cut) = (&bytes[..], &bytes[..bytes.len() - 1]);
    assert_eq!(Taking::read(&mut cut).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    let read = Taking::read(&mut all).expect("it was written so");
    assert!(all.is_empty());
    assert_eq!(&read, said);
    read
}

fn day(count: u64) -> Limit {
    quota(count, Unit::Day, "UTC")
}

fn stranger(number: u64) -> Subject {
    Subject::header(Some(&number.to_ne_bytes()))
}

#[test]
fn the_next_process_goes_on_where_the_one_before_was() {
    // A limit, what was used before the handover, and what is left in the next process so many seconds later.
    let table = [
        (rate(100, 100, 100), 100, 0, 0),
        (rate(100, 100, 100), 100, 40, 40),
        (rate(100, 100, 100), 30, 0, 70),
        (rate(7, 60, 7), 7, 8, 0),
        (rate(7, 60, 7), 7, 9, 1),
        (rate(1, 3600, 1000), 1000, 3600, 1),
        (day(10), 7, 0, 3),
        (day(10), 7, 86_400, 10),
        (quota(10, Unit::Month, "Asia/Kathmandu"), 10, 0, 0),
    ];
    for (limit, used, later, left) in table {
        for subject in [alice(), stranger(1)] {
            let old = old(4096);
            old.ask_as(&limit, subject, used).unwrap();
            let mut pair = Pair::of(old);
            pair.wait(later);
            assert_eq!(pair.new.ask_as(&limit, subject, 0).unwrap_or(0), left, "{limit:?} {later}");
            assert_eq!(pair.ask_one(&limit, subject, 0).unwrap_or(0), left, "{limit:?} {later}");
        }
    }
}

#[test]
fn a_decision_that_needs_one_moved_shard_decides_nothing() {
    let (desk, limit) = (Desk::new(), rate(10, 3600, 10));
    let subjects: Vec<Subject> = (0..200).map(|number| Subject::consumer(&number.to_string())).collect();
    let line = Line::new(1, channel().0);
    let _ = desk.limiter.hand_over(3, &line, 0, desk.now);
    let decide = |claims: &[Claim<'_>]| desk.limiter.decide(claims, desk.now).map(|_| ());
    let claim = |subject| Claim { limit: &limit, subject, cost: 1 };
    let moved: Vec<Subject> = subjects.iter().copied().filter(|one| decide(&[claim(*one)]).is_err()).collect();
    assert!((1..20).contains(&moved.len()), "{}", moved.len());
    let here = *subjects.iter().find(|subject| !moved.contains(subject)).unwrap();
    let before = desk.ask_as(&limit, here, 0);
    assert_eq!(decide(&[claim(here), claim(moved[0])]), Err(Moved));
    assert_eq!(desk.ask_as(&limit, here, 0), before, "nothing was spent");
    desk.limiter.take_back();
    assert_eq!(decide(&[claim(here), claim(moved[0])]), Ok(()));
}

#[test]
fn what_the_next_process_granted_is_known_when_the_counters_come_back() {
    let (limit, day, places) = (rate(10, 3600, 10), day(10), concurrency(5));
    let old = old(4096);
    old.limiter.keep_journals();
    old.ask(&day, 2).unwrap();
    let mut pair = Pair::of(old);
    pair.new.limiter.keep_journals();
    let claims = [&limit, &day, &places].map(|limit| Claim { limit, subject: alice(), cost: 3 });
    let (answer, permit) = pair.ask(&claims);
    assert!(answer.is_grant());
    assert_eq!(pair.new.ask(&limit, 2), Ok(5), "of the new process itself");
    pair.old.limiter.take_back();
    assert_eq!(pair.old.ask(&limit, 0), Ok(7));
    assert_eq!(pair.old.ask(&day, 0), Ok(5));
    assert_eq!(pair.old.ask(&places, 1), Ok(3), "one place is held");
    drop(permit);
    assert_eq!(pair.old.ask(&places, 1), Ok(4));
    let saved = |desk: &Desk| desk.limiter.take_unsaved(0, usize::MAX).tallies.iter().map(|tally| tally.used).sum();
    let both: [u64; 2] = [saved(&pair.old), saved(&pair.new)];
    assert_eq!(both, [5, 0], "each saves its own requests");
    // As a process in the middle of three does.
    let demands = pair.old.limiter.demands(&claims, pair.old.now);
    drop(pair.old.limiter.mirror(&demands, Whose::Predecessors, pair.line.asked(9), pair.old.now));
    assert_eq!((pair.old.ask(&day, 0), saved(&pair.old)), (Ok(2), 0), "counted, and saved by whom it is");
}

#[test]
fn places_are_free_when_they_are_left_or_the_process_before_is_gone() {
    let places = concurrency(4);
    let claim = [Claim { limit: &places, subject: alice(), cost: 1 }];
    let old = old(4096);
    let mut held: Vec<Permit> = (0..2).map(|_| old.decide(&claim).unwrap().permit).collect();
    let mut pair = Pair::of(old);
    held.push(pair.ask(&claim).1);
    assert_eq!(pair.new.ask(&places, 1), Ok(0));
    let own = pair.new.decide(&claim).unwrap();
    assert!(!pair.ask(&claim).0.is_grant(), "all four are taken");
    for (left, free) in [(2, 1), (1, 2)] {
        drop(held.remove(held.len() - 1));
        pair.hear();
        assert_eq!(pair.new.ask(&places, 1), Ok(free - 1), "{left} are left");
    }
    // Said twice, or of nobody: nothing is free that somebody holds.
    pair.predecessor.left(Left::Granted { question: 0 });
    pair.predecessor.left(Left::Granted { question: 77 });
    assert_eq!(pair.new.ask(&places, 1), Ok(1));
    let Pair { new, predecessor, .. } = pair;
    drop(predecessor);
    assert_eq!(new.ask(&places, 1), Ok(2), "but for the one of the new process");
    drop(own);
    assert_eq!(new.ask(&places, 1), Ok(3));
}

#[test]
fn a_place_granted_on_an_earlier_line_is_one_of_the_copy() {
    let places = concurrency(3);
    let claim = [Claim { limit: &places, subject: alice(), cost: 1 }];
    let mut pair = Pair::of(old(4096));
    let (_, permit) = pair.ask(&claim);
    // The new process fails, and another one is tried.
    let Pair { old, .. } = pair;
    old.limiter.take_back();
    let again = Pair { line: Line::new(2, channel().0), ..Pair::of(old) };
    let (out, said) = channel();
    let line = Line::new(2, out);
    (0..Limiter::shards()).for_each(|shard| _ = again.old.limiter.hand_over(shard, &line, EPOCHS[0], again.old.now));
    drop(permit);
    let Ok(Saying::Left(left)) = said.try_recv() else { panic!("nothing was said") };
    assert!(matches!(left, Left::Copied(_)), "{left:?}");
}

#[test]
fn a_question_before_midnight_is_answered_after_it() {
    let mut pair = Pair::of(old(4096).at("2025-06-10T23:59:59Z"));
    let limit = day(10);
    let claims = [Claim { limit: &limit, subject: alice(), cost: 4 }];
    let demands: Demands = pair.old.limiter.demands(&claims, pair.old.now);
    pair.wait(1);
    let answer = pair.predecessor.answer(0, &demands, pair.new.now).unwrap();
    assert!(answer.is_grant());
    assert_eq!(pair.new.ask(&limit, 0), Ok(6), "it counts in the day that has begun");
    pair.wait(86_399);
    assert_eq!(pair.new.ask(&limit, 0), Ok(6), "to its end");
    pair.wait(1);
    assert_eq!(pair.new.ask(&limit, 0), Ok(10));
}

#[test]
fn shared_entries_move_with_those_who_share_them() {
    let (old, limit, places) = (old(1), rate(3, 3600, 3), concurrency(2));
    let consumers: Vec<Subject> = (0..600).map(|number| Subject::consumer(&number.to_string())).collect();
    for consumer in &consumers {
        old.drain(&limit, *consumer);
    }
    let overflow = old.limiter.statistics().overflow_entries;
    assert!(overflow > 50, "{overflow}");
    let held: Vec<Permit> = consumers
        .iter()
        .filter_map(|subject| old.decide(&[Claim { limit: &places, subject: *subject, cost: 1 }]).ok())
        .map(|granted| granted.permit)
        .collect();
    let mut pair = Pair::of(old);
    assert!(pair.new.limiter.statistics().overflow_entries >= overflow);
    for consumer in &consumers {
        assert_eq!(pair.new.drain(&limit, *consumer), 0);
    }
    drop(held);
    pair.hear();
    for consumer in &consumers {
        assert_eq!(pair.new.ask_as(&places, *consumer, 1), Ok(1), "all places are free");
    }
}

#[test]
fn nonsense_is_no_counter() {
    let huge = u64::MAX.to_ne_bytes();
    let with = |tag: u8, numbers: &[u64]| {
        let numbers = numbers.iter().flat_map(|number| number.to_ne_bytes());
        [tag].into_iter().chain(numbers).collect::<Vec<u8>>()
    };
    let shards = u64::from(Limiter::shards());
    let leaving = [
        with(9, &[]),
        with(1, &[shards, 0]),
        with(1, &[0, 1 << 40]),
        [with(1, &[0, 1]), with(4, &[1, 1, 1, 1, 1])].concat(),
        [with(1, &[0, 1]), with(3, &[1, 1, 1, 1 << 32, 1])].concat(),
        with(3, &[0, 1 << 20]),
        // A bucket that never drains, and a claim of a shard that is not there.
        [with(3, &[0, 1]), with(1, &[0, 1, 1, 1, 1, 5, 5, 0])].concat(),
        [with(3, &[0, 1]), with(3, &[shards, 1, 1, 1, 1, 5, 0, 0])].concat(),
        [with(3, &[0, 1]), with(3, &[0, 1, 1, 1, 1 << 32, 5, 0, 0])].concat(),
        with(4, &[shards, 0, 1, 1, 1]),
        [&[3_u8][..], &huge, &huge].concat(),
    ];
    for bytes in leaving {
        let failed = Leaving::read(&mut &bytes[..]).expect_err("nonsense");
        assert_eq!(failed.kind(), ErrorKind::InvalidData, "{bytes:?}");
    }
    for bytes in [with(7, &[]), with(2, &[0, 1 << 32, 0]), [with(2, &[0, 0, 1]), with(5, &[0, 0])].concat()] {
        let failed = Taking::read(&mut &bytes[..]).expect_err("nonsense");
        assert_eq!(failed.kind(), ErrorKind::InvalidData, "{bytes:?}");
    }
    assert_eq!(back(&Taking::Restored), Taking::Restored);
    assert_eq!(there(&Leaving::Whole { wall: -1 }), Leaving::Whole { wall: -1 });
}

/// What may happen after a handover.
#[derive(Clone, Debug)]
enum Event {
    Old { consumer: u8, cost: u32 },
    New { consumer: u8, cost: u32 },
    Wait { seconds: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..3_u8, 0..4_u32).prop_map(|(consumer, cost)| Event::Old { consumer, cost }),
        4 => (0..3_u8, 0..4_u32).prop_map(|(consumer, cost)| Event::New { consumer, cost }),
        1 => (0..400_u64).prop_map(|seconds| Event::Wait { seconds }),
    ]
}

proptest! {
    #[test]
    fn two_processes_decide_as_one_would(
        before in prop::collection::vec(event(), 0..40), after in prop::collection::vec(event(), 1..120)
    ) {
        let limits = [rate(7, 60, 20), quota(25, Unit::Day, "UTC")];
        let claims = |consumer: u8, cost| {
            limits.each_ref().map(|limit| Claim { limit, subject: Subject::consumer(&consumer.to_string()), cost })
        };
        let (mut one, old) = (old(4096), old(4096));
        for event in before {
            if let Event::Old { consumer, cost } | Event::New { consumer, cost } = event {
                let _ = (one.decide(&claims(consumer, cost)), old.decide(&claims(consumer, cost)));
            }
        }
        let mut pair = Pair::of(old);
        for event in after {
            let told = |decided: Decided<'_>| match decided {
                Ok(granted) => format!("{:?}", granted.standings),
                Err(refused) => format!("{} {:?}", refused.retry_after_seconds, refused.standings),
            };
            let (expected, got) = match event {
                Event::Old { consumer, cost } => {
                    let claims = claims(consumer, cost);
                    let (answer, permit) = pair.ask(&claims);
                    (told(one.decide(&claims)), told(answer.decided(&claims, permit).unwrap()))
                }
                Event::New { consumer, cost } => {
                    let claims = claims(consumer, cost);
                    (told(one.decide(&claims)), told(pair.new.decide(&claims)))
                }
                Event::Wait { seconds } => {
                    one.wait(seconds);
                    pair.wait(seconds);
                    continue;
                }
            };
            prop_assert_eq!(expected, got);
        }
    }
}
