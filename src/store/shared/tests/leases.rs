//! Leases: what they save, and by how much they let a limit be exceeded.

use super::*;

#[test]
fn a_lease_saves_asking_and_what_is_left_of_it_goes_back() {
    let hour = Duration::from_secs(3600);
    for limit in
        [Limit::quota("q", "q", 500, Unit::Day, TimeZone::UTC).unwrap(), Limit::rate("r", "r", 500, hour, 500).unwrap()]
    {
        let desk = Desk::with(Sharing::Batched);
        let idle = |node: &Arc<Shared>, idle| desk.runtime.block_on(node.give_back(idle)).unwrap();
        let passes = |node| (0..1000).take_while(|_| asked_one(&desk, node, &[&limit]).0).count();
        let asked = (0..100).filter(|_| asked_one(&desk, &desk.shared, &[&limit]).1).count();
        assert_eq!(asked, 10, "{}: ten at a time", limit.name());
        assert_eq!(asked_one(&desk, &desk.shared, &[&limit]), (true, true));
        assert_eq!(passes(&desk.other), 390, "{}: the first node has nine more", limit.name());
        idle(&desk.shared, Idle::Any);
        assert_eq!(passes(&desk.other), 9, "{}", limit.name());
        assert_eq!(passes(&desk.shared), 0, "{}", limit.name());
    }
}

#[test]
fn a_rate_is_exceeded_by_leases_at_most_and_a_quota_never() {
    let hour = Duration::from_secs(3600);
    let rate = Limit::rate("r", "r", 500, hour, 500).unwrap();
    let day = Limit::quota("q", "q", 500, Unit::Day, TimeZone::UTC).unwrap();
    for (limit, most) in [(&rate, 500 + 2 * 10), (&day, 500)] {
        let mut desk = Desk::with(Sharing::Batched);
        // Both nodes hold a lease of before.
        for node in [&desk.shared, &desk.other] {
            assert!(asked_one(&desk, node, &[limit]).0);
        }
        desk.wait(86_400_000_000);
        let passes = |node| (0..1000).take_while(|_| asked_one(&desk, node, &[limit]).0).count();
        let passed = passes(&desk.shared) + passes(&desk.other);
        assert!((500..=most).contains(&passed), "{}: {passed}", limit.name());
    }
}

#[test]
fn what_one_limit_refuses_is_paid_from_no_lease() {
    let desk = Desk::with(Sharing::Batched);
    let hour = Duration::from_secs(3600);
    let wide = Limit::rate("w", "w", 200, hour, 200).unwrap();
    let narrow = Limit::quota("n", "n", 3, Unit::Day, TimeZone::UTC).unwrap();
    let both = |desk: &Desk| asked_one(desk, &desk.shared, &[&wide, &narrow]).0;
    assert_eq!((0..100).take_while(|_| both(&desk)).count(), 3);
    assert!((0..50).all(|_| !both(&desk)));
    assert_eq!(drain(&desk, &wide), 197);
}
