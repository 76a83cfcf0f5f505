//! Groups told apart, and what is done about them, with a strategy that does nothing or fails.

use std::time::Duration;

use groundcrew_plugin::testing::{Failure, TestHost, Tested, machine};
use groundcrew_plugin::{HostStatus, Mount};

use super::*;
use crate::Verify;

const FILE: &str = "app = \"web\"\n[processes]\napp = \"serve\"\njobs = \"work\"\nfront = \"serve\"\n[http_service]\ninternal_port = 80\nprocesses = [\"app\", \"front\"]\n";

fn of(id: &str, group: &str, region: &str) -> Summary {
    Summary {
        group: group.to_owned(),
        region: region.to_owned(),
        ..machine("web", id)
    }
}

/// Two of `app`, one of `old`.
fn fleet() -> Vec<Summary> {
    vec![
        of("a", "app", "iad"),
        of("b", "app", "iad"),
        of("o", "old", "fra"),
    ]
}

fn select() -> Select {
    Select {
        app: "web".to_owned(),
        ..Select::default()
    }
}

fn change(file: &str) -> Change {
    Change {
        config: Some(file.to_owned()),
        release: Some("r2".to_owned()),
        ..Change::default()
    }
}

fn how() -> How {
    How {
        drain: Some(Duration::from_secs(5)),
        wait: Duration::from_secs(60),
        critical_after: None,
        verify: Verify {
            checks: true,
            stopped: false,
        },
        rollback: true,
        replace: false,
    }
}

fn sorted(machines: Vec<Summary>, change: Change, select: &Select) -> Result<Scope> {
    let update_only = change.update_only;
    let chosen = machines.into_iter().map(Machine::from).collect();
    let selection = Selection {
        chosen,
        excluded: Vec::new(),
    };
    Scope::divided(change.target()?, selection, select, update_only)
}

fn ids(machines: &[Machine]) -> Vec<&str> {
    machines.iter().map(|it| it.id.as_str()).collect()
}

/// Runs with a strategy that has nothing to do, or fails.
fn run(host: TestHost, change: Change, how: &How, fails: bool) -> Tested<Report> {
    let tested = host.run(async |host| {
        let scope = Scope::of(&host, &select(), change).await?;
        let strategy = async |target: &Target, selection: Selection| {
            let of = |machine| MachineReport::of(machine, Outcome::Unchanged, None);
            let machines = selection.chosen.iter().map(of).collect();
            let report = Report::new(&target.release, machines);
            match fails {
                false => Ok(report),
                true => Err(Error::application("it is ill").with_output(&report)),
            }
        };
        scope.run(&host, how, strategy).await
    });
    tested.holding_nothing()
}

/// What became of each Machine, by group and id.
fn fates(tested: &Tested<Report>) -> Vec<(String, Outcome)> {
    let carried = tested.result.as_ref().err().and_then(Report::carried);
    let report = tested.result.as_ref().ok().or(carried.as_ref()).unwrap();
    let of = |it: &MachineReport| (format!("{} {}", it.group, it.id), it.result);
    report.machines.iter().map(of).collect()
}

#[test]
fn groups_are_told_apart() {
    let scope = sorted(fleet(), change(FILE), &select()).unwrap();
    assert_eq!(ids(&scope.selection.chosen), ["a", "b"]);
    assert_eq!(ids(&scope.gone), ["o"]);
    let new: Vec<_> = scope
        .new
        .iter()
        .map(|new| {
            (
                new.group.as_str(),
                new.serves,
                &*new.pattern.id,
                &*new.pattern.region,
            )
        })
        .collect();
    assert_eq!(
        new,
        [("front", true, "a", "iad"), ("jobs", false, "a", "iad")]
    );
    let region = format!("primary_region = \"ams\"\n{FILE}");
    let scope = sorted(fleet(), change(&region), &select()).unwrap();
    assert!(scope.new.iter().all(|new| new.pattern.region == "ams"));
}

#[test]
fn without_a_file_there_are_no_groups_to_tell() {
    let change = Change {
        image: Some("web:2".to_owned()),
        ..Change::default()
    };
    let scope = sorted(fleet(), change, &select()).unwrap();
    assert_eq!(ids(&scope.selection.chosen), ["a", "b", "o"]);
    assert!(scope.new.is_empty() && scope.gone.is_empty() && scope.notes.is_empty());
}

#[test]
fn a_part_of_the_app_or_update_only_leaves_groups_alone() {
    let narrow = |select: Select| (change(FILE), select);
    let list = || vec!["x".to_owned()];
    let cases = [
        narrow(Select {
            groups: list(),
            ..select()
        }),
        narrow(Select {
            regions: list(),
            ..select()
        }),
        narrow(Select {
            include: list(),
            ..select()
        }),
        narrow(Select {
            exclude: list(),
            ..select()
        }),
        (
            Change {
                update_only: true,
                ..change(FILE)
            },
            select(),
        ),
    ];
    for (change, select) in cases {
        let scope = sorted(fleet(), change, &select).unwrap();
        assert!(scope.new.is_empty() && scope.gone.is_empty());
        assert_eq!(ids(&scope.selection.chosen), ["a", "b"]);
        assert_eq!(
            (&*scope.left[0].id, scope.left[0].result),
            ("o", Outcome::Excluded)
        );
        let first = match select.is_narrow() {
            true => "no process group is made or removed",
            false => "`front`, `jobs` are not made",
        };
        assert!(scope.notes[0].contains(first), "{:?}", scope.notes);
        assert!(scope.notes[1].contains("`old` are not removed"));
    }
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_done() {
    let refused = |machines: Vec<Summary>, file: &str, part: &str| {
        let error = sorted(machines, change(file), &select()).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.message().contains(part), "{error}");
    };
    let volume = format!("{FILE}[mounts]\ndestination = \"/d\"\nprocesses = [\"jobs\"]\n");
    refused(fleet(), "app = \"other\"", "the app `other`'s");
    refused(fleet(), &volume, "`jobs` is new and needs a volume");
    let dead = |machine| Summary {
        host_status: HostStatus::Unreachable,
        ..machine
    };
    let all_dead = fleet().into_iter().map(dead).collect();
    refused(all_dead, FILE, "no Machine within reach");
    let mounted = Summary {
        mounts: vec![Mount {
            volume: "v".to_owned(),
            path: "/d".to_owned(),
        }],
        ..of("a", "app", "iad")
    };
    refused(vec![mounted], FILE, "Machine a of the process group `app`");
}

#[test]
fn new_groups_are_made_first_and_gone_ones_removed_last() {
    let host = TestHost::new().machines(fleet());
    let tested = run(host, change(FILE), &how(), false);
    let report = tested.result.as_ref().unwrap();
    assert_eq!(report.totals[&Outcome::Created], 4);
    assert_eq!(report.totals[&Outcome::Removed], 1);
    assert_eq!(tested.subjects_of("machines.create"), ["a"; 4]);
    let standbys = |it: &&groundcrew_plugin::testing::Submission| {
        it.operation == "machines.create" && it.options.contains("launch: false")
    };
    let standbys: Vec<_> = tested.submitted.iter().filter(standbys).collect();
    assert_eq!(standbys.len(), 1);
    assert!(standbys[0].options.contains("standbys: Some([\"new-"));
    let creates = tested.submitted.iter();
    let mut creates = creates.filter(|it| it.operation == "machines.create");
    assert!(
        creates.all(|it| it.options.contains("cordoned: true")
            && it.options.contains("region: Some(\"iad\")"))
    );
    let of_gone = tested.submitted.iter().filter(|it| it.subject == "o");
    let operations: Vec<_> = of_gone.map(|it| it.operation).collect();
    assert_eq!(
        operations,
        [
            "machines.lease",
            "machines.cordon",
            "machines.stop",
            "machines.wait",
            "machines.destroy",
            "machines.release"
        ]
    );
    let at = |operation: &str| {
        let mut of = tested.submitted.iter().enumerate();
        of.find(|(_, it)| it.operation == operation).unwrap().0
    };
    assert!(at("machines.uncordon") < at("machines.lease"));
}

#[test]
fn a_failure_takes_new_groups_back_and_removes_nothing() {
    let host = || TestHost::new().machines(fleet());
    let tested = run(host(), change(FILE), &how(), true);
    let found = fates(&tested);
    let made = found.iter().filter(|(_, fate)| *fate == Outcome::Destroyed);
    assert_eq!(made.count(), 4);
    assert!(found.contains(&("old o".to_owned(), Outcome::NotAttempted)));
    assert!(found.contains(&("app a".to_owned(), Outcome::Unchanged)));
    assert_eq!(tested.subjects_of("machines.destroy").len(), 4);
    // Those that serve leave the proxy first; the two others have no service.
    assert_eq!(tested.subjects_of("machines.cordon").len(), 2);
    let error = tested.result.unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (Kind::Application, "it is ill")
    );

    let stays = How {
        rollback: false,
        ..how()
    };
    let tested = run(host(), change(FILE), &stays, true);
    let made = fates(&tested);
    let made = made.iter().filter(|(_, fate)| *fate == Outcome::Created);
    assert_eq!(made.count(), 4);
    assert!(tested.subjects_of("machines.destroy").is_empty());
}

#[test]
fn a_new_group_that_does_not_come_up_leaves_everything_as_it_was() {
    let ill = Failure::Application("the check stays critical".to_owned());
    // The first operation lists, the next two make the first Machine of each group.
    let host = TestHost::new().machines(fleet());
    let host = host.fail("machines.wait-healthy", "new-3", ill);
    let stays = How {
        rollback: false,
        ..how()
    };
    let tested = run(host, change(FILE), &stays, false);
    let error = tested.result.as_ref().unwrap_err();
    assert!(
        error.message().contains("nothing else was touched"),
        "{error}"
    );
    let untouched = fates(&tested);
    let untouched = untouched
        .iter()
        .filter(|(_, f)| *f == Outcome::NotAttempted);
    assert_eq!(untouched.count(), 3);
    let created = tested.subjects_of("machines.create").len();
    assert_eq!(tested.subjects_of("machines.destroy").len(), created);
    assert!(tested.subjects_of("machines.uncordon").is_empty());
}

#[test]
fn an_app_whose_groups_are_all_new_is_made_beside_what_is_removed() {
    let file = "[processes]\nfresh = \"\"\n";
    let host = TestHost::new().machines(fleet());
    let tested = run(host, change(file), &how(), true);
    let report = tested.result.unwrap();
    assert_eq!(report.totals[&Outcome::Removed], 3);
    assert_eq!(report.totals[&Outcome::Created], 2);
}

#[test]
fn what_cannot_be_removed_is_a_failure_that_says_so() {
    let mut machines = fleet();
    machines.push(Summary {
        host_status: HostStatus::Unreachable,
        ..of("p", "old", "fra")
    });
    let busy = Failure::Conflict("somebody is at it".to_owned());
    let host = TestHost::new().machines(machines);
    let tested = run(
        host.fail("machines.stop", "o", busy),
        change(FILE),
        &how(),
        false,
    );
    let found = fates(&tested);
    assert!(found.contains(&("old o".to_owned(), Outcome::Failed)));
    assert!(found.contains(&("old p".to_owned(), Outcome::Unreachable)));
    assert!(tested.result.unwrap_err().message().contains("4 created"));
}

#[test]
fn an_app_without_machines_is_told_so() {
    let scope = sorted(Vec::new(), change(FILE), &select()).unwrap();
    assert!(scope.new.is_empty() && scope.notes[0].contains("no Machine"));
}

#[test]
fn a_group_that_nobody_put_into_service_is_pointed_at() {
    let left = |id: &str| Summary {
        cordoned: true,
        release: Some("r2".to_owned()),
        ..of(id, "front", "iad")
    };
    let machines = fleet().into_iter().chain([left("f")]).collect();
    let scope = sorted(machines, change(FILE), &select()).unwrap();
    assert!(scope.notes[0].contains("`front`"), "{:?}", scope.notes);
}

#[test]
fn a_standby_that_the_proxy_serves_now_is_named() {
    let standby = Summary {
        standbys: vec!["f".to_owned()],
        ..of("g", "front", "iad")
    };
    let machines = fleet().into_iter().chain([standby]).collect();
    let scope = sorted(machines, change(FILE), &select()).unwrap();
    let named = scope
        .notes
        .iter()
        .filter(|note| note.contains("stands by no longer"));
    let named: Vec<_> = named.collect();
    assert!(
        named.len() == 1 && named[0].contains("Machine g"),
        "{:?}",
        scope.notes
    );
}
