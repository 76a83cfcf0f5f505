use groundcrew_deploy::Change;
use groundcrew_plugin::testing::machine;

use super::*;

fn target() -> Target {
    let change = Change {
        release: Some("r2".to_owned()),
        ..Change::default()
    };
    change.target().unwrap()
}

fn blue(number: usize) -> Summary {
    machine("web", &format!("b{number:02}"))
}

fn green(number: usize, cordoned: bool) -> Summary {
    Summary {
        release: Some("r2".to_owned()),
        cordoned,
        ..machine("web", &format!("g{number:02}"))
    }
}

fn pool(machines: impl IntoIterator<Item = Summary>) -> Pool {
    let machines = machines.into_iter().map(Machine::from).collect();
    Pool::of(machines, &target()).unwrap()
}

fn moves(pool: &Pool, share: u32) -> (usize, usize) {
    let moves = pool.moves(|side| side.green_share(share), None);
    (moves.into.len(), moves.out.len())
}

#[test]
fn every_blue_gets_a_green() {
    let fresh = pool((0..10).map(blue));
    assert_eq!(
        (fresh.missing(99).len(), fresh.wanted(), fresh.beyond()),
        (10, 10, 0)
    );
    let half = pool((0..10).map(blue).chain((0..4).map(|n| green(n, true))));
    assert_eq!((half.missing(99).len(), half.beyond()), (6, 4));
    let done = pool((0..10).map(|n| green(n, false)));
    assert_eq!((done.missing(99).len(), moves(&done, 100)), (0, (0, 0)));
}

#[test]
fn shares_are_of_those_that_serve() {
    let both = || pool((0..10).map(blue).chain((0..10).map(|n| green(n, true))));
    assert_eq!(moves(&both(), 0), (0, 0));
    assert_eq!(moves(&both(), 1), (1, 1));
    assert_eq!(moves(&both(), 25), (3, 3));
    assert_eq!(moves(&both(), 100), (10, 10));
    let mut half = both();
    let halfway = half.moves(|side| side.green_share(50), None);
    for key in &halfway.into {
        half.set_cordoned(key, false);
    }
    for key in &halfway.out {
        half.set_cordoned(key, true);
    }
    assert_eq!(moves(&half, 50), (0, 0));
    assert_eq!(moves(&half, 100), (5, 5));
    assert_eq!(moves(&half, 0), (5, 5));
}

#[test]
fn a_deploy_that_had_destroyed_most_blues_goes_on() {
    let cordoned = |number| Summary {
        cordoned: true,
        ..blue(number)
    };
    let left = pool((0..2).map(cordoned).chain((0..10).map(|n| green(n, false))));
    assert_eq!((left.missing(99).len(), moves(&left, 100)), (0, (0, 0)));
}

#[test]
fn what_was_out_of_service_stays_so() {
    let aside = Summary {
        cordoned: true,
        ..blue(0)
    };
    let mut pool = pool([aside, blue(1), blue(2)]);
    for (place, machine, up) in pool.missing(usize::MAX) {
        let new = Summary {
            id: format!("new-{}", machine.id),
            ..Summary::clone(&machine)
        };
        pool.add(&place, Machine::from(new), up);
    }
    assert_eq!(moves(&pool, 100), (2, 2));
}

#[test]
fn dead_hosts_are_replaced_in_their_region_like_their_neighbours() {
    use groundcrew_plugin::HostStatus;
    let dead = Summary {
        region: "iad".to_owned(),
        host_status: HostStatus::Unreachable,
        ..blue(1)
    };
    let pool = pool([blue(0), dead]);
    let missing = pool.missing(99);
    let made: Vec<_> = missing
        .iter()
        .map(|(_, like, _)| (like.id.as_str(), like.region.as_str()))
        .collect();
    assert_eq!(made, [("b00", "fra"), ("b00", "iad")]);
}

#[test]
fn volumes_are_refused() {
    let mount = groundcrew_plugin::Mount {
        volume: "vol_1".to_owned(),
        path: "/data".to_owned(),
    };
    let volume = Summary {
        mounts: vec![mount],
        ..blue(0)
    };
    let refused = Pool::of(vec![volume.into()], &target()).unwrap_err();
    assert!(refused.message().contains("volume"), "{refused}");
    assert!(Pool::of(Vec::new(), &target()).is_err());
}
