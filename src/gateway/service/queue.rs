//! The requests that a service works on at the same time, and those that wait for a place among them.
//!
//! First come, first served: a place that is given back goes to the request that has waited longest, and none that comes
//! meanwhile is faster. A request waits under the rules of its generation, so a reload disturbs nobody. Where nobody may
//! wait, this costs one read of a number when a place is taken and one when it is given back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The places of a service.
#[derive(Debug, Default)]
pub struct Places {
    taken: AtomicUsize,
    /// How many stand in the line; written under its lock.
    waiting: AtomicUsize,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    waiters: VecDeque<Waiter>,
    next: u64,
}

/// A request in the line.
#[derive(Debug)]
struct Waiter {
    /// Grows from one to the next.
    number: u64,
    /// How many places there are for it.
    max: usize,
    turn: oneshot::Sender<()>,
}

/// A place, free when this is dropped.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::SeqCst);
        if self.0.waiting() > 0 {
            self.0.admit();
        }
    }
}

/// A position in the line, left when this is dropped.
#[derive(Debug)]
pub struct Ticket {
    places: Arc<Places>,
    number: u64,
    turn: oneshot::Receiver<()>,
    used: bool,
}

impl Ticket {
    /// Waits for the place.
    pub async fn place(mut self) -> Place {
        // The other half stays in the line until it is used.
        let _ = (&mut self.turn).await;
        self.used = true;
        Place(Arc::clone(&self.places))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.used {
            return;
        }
        let mut line = self.places.line.lock();
        match line.waiters.binary_search_by_key(&self.number, |waiter| waiter.number) {
            Ok(position) => {
                line.waiters.remove(position);
                self.places.waiting.store(line.waiters.len(), Ordering::SeqCst);
                drop(line);
                // There may be more places for the next one than there were for this one.
                self.places.admit();
            }
            // Its turn has come already: somebody else's now.
            Err(_) => {
                drop(line);
                drop(Place(Arc::clone(&self.places)));
            }
        }
    }
}

impl Places {
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Whether one of so many places is free now.
    pub fn has_room(&self, max: usize) -> bool {
        self.taken.load(Ordering::Relaxed) < max && self.waiting() == 0
    }

    /// A place among so many, if one is free and nobody waits for it.
    pub fn enter(self: &Arc<Self>, max: usize) -> Option<Place> {
        (self.waiting() == 0 && self.take(max)).then(|| Place(Arc::clone(self)))
    }

    /// Waits for a place among so many, unless so many wait already.
    pub fn wait(self: &Arc<Self>, max: usize, most_waiting: usize) -> Option<Ticket> {
        let mut line = self.line.lock();
        if line.waiters.len() >= most_waiting {
            return None;
        }
        let (number, (turn, told)) = (line.next, oneshot::channel());
        line.next += 1;
        line.waiters.push_back(Waiter { number, max, turn });
        self.waiting.store(line.waiters.len(), Ordering::SeqCst);
        drop(line);
        // Whoever gave a place back just before saw nobody waiting.
        self.admit();
        Some(Ticket { places: Arc::clone(self), number, turn: told, used: false })
    }

    fn take(&self, max: usize) -> bool {
        let count = |taken: usize| (taken < max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count).is_ok()
    }

    /// Gives free places to those that have waited longest.
    fn admit(&self) {
        let mut line = self.line.lock();
        while line.waiters.front().is_some_and(|first| self.take(first.max)) {
            if let Some(first) = line.waiters.pop_front() {
                // Who is leaving at this moment finds itself gone from the line, and gives the place back.
                let _ = first.turn.send(());
            }
            self.waiting.store(line.waiters.len(), Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// The place, if its turn has come.
    fn place(ticket: Ticket) -> Option<Place> {
        let mut turn = pin!(ticket.place());
        match turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_place_is_free_again_when_its_request_is_over() {
        let places = Arc::<Places>::default();
        let first = places.enter(2).unwrap();
        let _second = places.enter(2).unwrap();
        assert!(places.enter(2).is_none());
        drop(first);
        assert!(places.enter(2).is_some());
    }

    #[test]
    fn places_go_to_those_that_have_waited_longest() {
        let places = Arc::<Places>::default();
        let held = places.enter(1).unwrap();
        assert!(places.enter(1).is_none() && !places.has_room(1));
        let (first, second) = (places.wait(1, 2).unwrap(), places.wait(1, 2).unwrap());
        assert!(places.wait(1, 2).is_none(), "the line is full");
        drop(held);
        assert!(places.enter(1).is_none(), "nobody overtakes");
        let held = place(first).expect("the first one's turn");
        assert_eq!(places.waiting(), 1);
        drop(held);
        drop(place(second).expect("the second one's turn"));
        assert!(places.has_room(1));
    }

    #[test]
    fn who_leaves_makes_room() {
        let places = Arc::<Places>::default();
        let held = places.enter(1).unwrap();
        let (first, second) = (places.wait(1, 2).unwrap(), places.wait(1, 2).unwrap());
        drop(first);
        let third = places.wait(1, 2).expect("its room in the line");
        drop(held);
        // Its turn has come, and it leaves before it knows.
        drop(second);
        drop(place(third).expect("the next one's turn"));
        assert!(places.has_room(1) && places.waiting() == 0);
    }

    #[test]
    fn more_places_of_a_new_generation_reach_those_behind() {
        let places = Arc::<Places>::default();
        let _held = places.enter(1).unwrap();
        let (old, new) = (places.wait(1, 9).unwrap(), places.wait(2, 9).unwrap());
        drop(old);
        assert!(place(new).is_some());
    }

    #[test]
    fn no_place_is_lost_or_given_twice() {
        const MAX: usize = 3;
        let places = Arc::<Places>::default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
        let most = Arc::<AtomicUsize>::default();
        let tasks: Vec<_> = (0..2000_u64)
            .map(|number| {
                let (places, most) = (Arc::clone(&places), Arc::clone(&most));
                runtime.spawn(async move {
                    let Some(ticket) = places.wait(MAX, usize::MAX) else { return };
                    let place = match number % 3 {
                        // Leaves at once, or after a while.
                        0 => return,
                        1 => tokio::time::timeout(std::time::Duration::from_micros(number), ticket.place()).await.ok(),
                        _ => Some(ticket.place().await),
                    };
                    most.fetch_max(places.taken.load(Ordering::SeqCst), Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    drop(place);
                })
            })
            .collect();
        runtime.block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!((places.taken.load(Ordering::SeqCst), places.waiting()), (0, 0));
        assert!(most.load(Ordering::SeqCst) <= MAX);
    }
}
