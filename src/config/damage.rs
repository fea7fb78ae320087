//! What of a configuration could not be read, and what therefore cannot be judged.
//!
//! When the shape of a file is wrong, the rest of it is compiled all the same, so that one run reports everything. A
//! [`Damage`] knows which places are lost to that: blanks stand for them, or they are left out. [`Damage::filter`]
//! takes the report of such a compilation, moves its places back to where they are written, and drops every problem
//! that mending the damage could make disappear. It errs towards silence: what is dropped comes in the next run.
//!
//! The name of a header is written in any case and known in lower case, so keys are compared without regard to case.

use std::collections::{HashMap, HashSet};

use super::place::{On, Place, Step};
use super::report::{Ground, Problem, Report};
use super::schema_files::SchemaFiles;

/// Sections whose problems are those of one of their items.
const ITEMS: [&str; 6] = ["listeners", "services", "authenticators", "plans", "consumers", "routes"];

/// The damaged places of a configuration, as they are written, but for the case of keys.
#[derive(Debug, Clone, Default)]
pub struct Damage {
    /// Places whose value is not known.
    lost: HashSet<Vec<Step>>,
    /// Mappings with a key that nobody knows, and all their keys: the unknown one may be any that is not there.
    open: HashMap<Vec<Step>, HashSet<String>>,
    /// Everything that has damage in it.
    around: HashSet<Vec<Step>>,
    /// The positions in a list of the elements that are left out, ascending.
    left_out: HashMap<Vec<Step>, Vec<usize>>,
}

impl Damage {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.open.is_empty()
    }

    /// Says that the value at a place is not known.
    pub(super) fn lose(&mut self, place: Place) {
        let steps = folded(&place);
        for length in 0..steps.len() {
            self.around.insert(steps[..length].to_vec());
        }
        self.lost.insert(steps);
    }

    /// Says that an element is not known and left out of its list.
    pub(super) fn leave_out(&mut self, list: &Place, index: usize) {
        self.lose(list.clone().index(index));
        let positions = self.left_out.entry(folded(list)).or_default();
        let at = positions.partition_point(|before| *before < index);
        if positions.get(at) != Some(&index) {
            positions.insert(at, index);
        }
    }

    /// Says that a mapping, which has these keys, has one that nobody knows.
    pub(super) fn open(&mut self, mapping: Place, keys: impl IntoIterator<Item = String>) {
        let mapping = folded(&mapping);
        for length in 0..=mapping.len() {
            self.around.insert(mapping[..length].to_vec());
        }
        let keys = keys.into_iter().map(|key| key.to_ascii_lowercase());
        self.open.entry(mapping).or_default().extend(keys);
    }

    /// Whether nothing is known of a place: it is lost, in something lost, or perhaps there under another key.
    pub(super) fn hides(&self, place: &Place) -> bool {
        let steps = folded(place);
        (0..=steps.len()).any(|length| {
            let (before, rest) = steps.split_at(length);
            let absent = |keys: &HashSet<String>| matches!(rest, [Step::Key(key), ..] if !keys.contains(key));
            self.lost.contains(before) || self.open.get(before).is_some_and(absent)
        })
    }

    /// Whether a place is hidden or has damage in it.
    fn touches(&self, place: &Place) -> bool {
        self.hides(place) || self.surrounded_by(place)
    }

    /// Whether a place has damage in it.
    fn surrounded_by(&self, place: &Place) -> bool {
        self.around.contains(&folded(place))
    }

    /// Whether [`Self::hides`] holds for the field of any element of a list.
    fn touches_each(&self, list: &Place, field: &str) -> bool {
        let around = folded(list);
        let within = |steps: &'_ [Step]| steps.strip_prefix(around.as_slice()).map(<[Step]>::to_vec);
        let lost = |steps: &Vec<Step>| match within(steps).as_deref() {
            Some([_, Step::Key(key), ..]) => key == field,
            Some([_]) => true,
            _ => false,
        };
        let open = |(mapping, keys): (&Vec<Step>, &HashSet<String>)| {
            within(mapping).is_some_and(|rest| rest.len() == 1) && !keys.contains(field)
        };
        self.hides(list) || self.lost.iter().any(lost) || self.open.iter().any(open)
    }

    /// Where something that was found at `place` of what is left is written.
    pub(super) fn written(&self, place: Place) -> Place {
        let mut steps: Vec<Step> = Vec::with_capacity(place.0.len());
        for step in place.0 {
            let before = Place(steps);
            let step = match step {
                Step::Index(index) => match self.left_out.get(&folded(&before)) {
                    Some(positions) => Step::Index(with_left_out(positions, index)),
                    None => step,
                },
                Step::Key(_) => step,
            };
            steps = before.0;
            steps.push(step);
        }
        Place(steps)
    }

    /// Where something that is written at `place` is in what is left: the inverse of [`Self::written`].
    pub(super) fn left(&self, place: &Place) -> Option<Place> {
        let (mut steps, around) = (place.0.clone(), folded(place));
        for (length, step) in steps.iter_mut().enumerate() {
            let (Step::Index(index), Some(positions)) = (step, self.left_out.get(&around[..length])) else { continue };
            match positions.binary_search(index) {
                Ok(_) => return None,
                Err(before) => *index -= before,
            }
        }
        Some(Place(steps))
    }

    /// Those problems of what is left that are there however the damage is mended, where they are written.
    pub(super) fn filter(&self, found: Report) -> Report {
        let mut asked = HashMap::new();
        let mut certain = Report::default();
        for mut problem in found {
            problem.place = self.written(problem.place);
            let grounds = problem.grounds.take();
            // A schema file is no key of the configuration: a problem in one rests on the key that names it.
            let hidden = !SchemaFiles::hold(&problem.place) && self.hides(&problem.place);
            if !hidden && !self.shakes(&problem, grounds, &mut asked) {
                certain.push(problem);
            }
        }
        certain
    }

    /// Whether what a problem rests on is not certain. `asked` remembers what has been looked through.
    fn shakes(&self, problem: &Problem, grounds: Option<Vec<Ground>>, asked: &mut HashMap<Ground, bool>) -> bool {
        let Some(grounds) = grounds else { return self.touches(&item_of(&problem.place)) };
        if grounds.is_empty() && problem.on == On::Value {
            return self.touches(&problem.place);
        }
        grounds.into_iter().any(|ground| match ground {
            Ground::At(place) if SchemaFiles::hold(&place) => self.surrounded_by(&place),
            Ground::At(place) => self.touches(&self.written(place)),
            Ground::Each(list, field) => {
                *asked.entry(Ground::Each(list.clone(), field)).or_insert_with(|| self.touches_each(&list, field))
            }
        })
    }
}

/// The steps of a place, their keys in lower case.
fn folded(place: &Place) -> Vec<Step> {
    let step = |step: &Step| match step {
        Step::Key(key) => Step::Key(key.to_ascii_lowercase()),
        Step::Index(index) => Step::Index(*index),
    };
    place.0.iter().map(step).collect()
}

/// The route, service, consumer, … of a place, or the section where it has no such items.
fn item_of(place: &Place) -> Place {
    let length = match place.0.as_slice() {
        [Step::Key(section), ..] if ITEMS.contains(&section.as_str()) => 2,
        _ => 1,
    };
    Place(place.0.iter().take(length).cloned().collect())
}

/// How many of the elements before the one that is now at `index` were there in the beginning, those left out too.
fn with_left_out(positions: &[usize], index: usize) -> usize {
    // Of the elements left out, the n-th was behind n others that were, so behind `position - n` that were not.
    let (mut low, mut high) = (0, positions.len());
    while low < high {
        let middle = low.midpoint(high);
        if positions[middle] - middle <= index { low = middle + 1 } else { high = middle }
    }
    index + low
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `routes.3.name`: numbers are positions.
    fn place(text: &str) -> Place {
        let step = |step: &str| step.parse().map_or_else(|_| Step::Key(step.to_owned()), Step::Index);
        Place(text.split('.').filter(|step| !step.is_empty()).map(step).collect())
    }

    fn damage() -> Damage {
        let mut damage = Damage::default();
        damage.lose(place("services.users"));
        damage.lose(place("plans.free.total"));
        damage.leave_out(&place("routes"), 4);
        damage.leave_out(&place("routes"), 0);
        damage.leave_out(&place("routes"), 1);
        damage.leave_out(&place("routes.3.tags"), 0);
        damage.open(place("routes.5"), ["name", "nmae"].map(str::to_owned));
        damage.lose(place("routes.6.header_params.X-A.default"));
        damage.leave_out(&place("routes.6.header_params.X-A.examples"), 0);
        damage
    }

    #[test]
    fn positions_are_those_of_the_file_again() {
        for (left, written) in [
            ("routes.0", "routes.2"),
            ("routes.1", "routes.3"),
            ("routes.1.tags.0", "routes.3.tags.1"),
            ("routes.2.tags.0", "routes.5.tags.0"),
            ("routes.7", "routes.10"),
            ("routes.3.header_params.x-a.examples.0", "routes.6.header_params.x-a.examples.1"),
            ("services.x.targets.1", "services.x.targets.1"),
        ] {
            assert_eq!(damage().written(place(left)), place(written), "{left}");
            assert_eq!(damage().left(&place(written)), Some(place(left)), "{written}");
        }
        for gone in ["routes.0", "routes.4.name", "routes.3.tags.0"] {
            assert_eq!(damage().left(&place(gone)), None, "{gone}");
        }
    }

    #[test]
    fn what_is_lost_or_perhaps_there_is_not_certain() {
        let damage = damage();
        for (at, hidden, touched) in [
            ("services", false, true),
            ("services.users", true, true),
            ("services.users.url", true, true),
            ("services.orders", false, false),
            ("plans.free", false, true),
            ("plans.free.total.0", true, true),
            ("plans.free.each_route", false, false),
            ("routes", false, true),
            ("routes.0", true, true),
            ("routes.3", false, true),
            ("routes.3.name", false, false),
            ("routes.5", false, true),
            ("routes.5.name", false, false),
            ("routes.5.method", true, true),
            ("routes.6.header_params.x-a", false, true),
            ("routes.6.header_params.x-a.default", true, true),
            ("routes.6.header_params.x-a.type", false, false),
            ("", false, true),
        ] {
            assert_eq!((damage.hides(&place(at)), damage.touches(&place(at))), (hidden, touched), "{at}");
        }
        for (list, field, touched) in [
            ("routes", "name", true),
            ("services", "url", true),
            ("plans", "total", true),
            ("plans", "each_route", false),
            ("consumers", "plan", false),
            ("services.users", "url", true),
        ] {
            assert_eq!(damage.touches_each(&place(list), field), touched, "{list} {field}");
        }
    }

    #[test]
    fn a_problem_is_kept_when_its_grounds_are_certain() {
        type Say = fn(&mut Problem) -> &mut Problem;
        let cases: [(&str, Say, bool); 14] = [
            // A problem that does not say anything rests on all of its item.
            ("services.orders.url", |problem| problem, true),
            ("plans.free.concurrency", |problem| problem, false),
            ("timezone", |problem| problem, true),
            ("routes.0.name", |problem| problem, true),
            ("routes.1.name", |problem| problem, false),
            ("plans.free.concurrency", Problem::by_itself, true),
            ("plans.free", Problem::by_itself, false),
            // The name is there, whatever is under it.
            ("plans.free", |problem| problem.on_key().by_itself(), true),
            ("services.users", |problem| problem.on_key().by_itself(), false),
            ("routes.0.service", |problem| problem.given(place("services.users")), false),
            ("routes.0.service", |problem| problem.given(place("services.usres")), true),
            ("routes.2", |problem| problem.given_keys(&place("routes.2"), &["name", "method"]), false),
            ("plans.free.routes.a", |problem| problem.given_each(place("routes"), "name"), false),
            ("plans.gold", |problem| problem.on_key().given_each(place("consumers"), "plan"), true),
        ];
        for (nth, (at, say, kept)) in cases.into_iter().enumerate() {
            let mut found = Report::default();
            say(found.error(place(at), "wrong"));
            assert_eq!(!damage().filter(found).problems().is_empty(), kept, "case {nth}: {at}");
        }
    }
}
