//! Counts the Machines of the whole organisation. It imports nothing that writes.

use std::collections::BTreeMap;

use groundcrew_plugin::{Host, Listing, Result, plugin};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to count.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Only these process groups; all if empty.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Only these regions; all if empty.
    #[serde(default)]
    pub regions: Vec<String>,
}

/// How many Machines there are.
#[derive(Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Count {
    /// All of them.
    pub total: u32,
    /// By app.
    pub by_app: BTreeMap<String, u32>,
    /// By process group, over all apps.
    pub by_group: BTreeMap<String, u32>,
    /// By state.
    pub by_state: BTreeMap<String, u32>,
    /// By region.
    pub by_region: BTreeMap<String, u32>,
    /// Regions did not answer, and their Machines are not in these numbers.
    pub partial: bool,
    /// Those regions.
    pub missing_regions: Vec<String>,
    /// How many more there are that the grant does not cover; they are not in these numbers.
    pub left_out: u32,
}

/// Count the organisation's Machines by app, process group, state and region.
#[plugin(machines(list, reason = "counts the Machines of every app"))]
pub async fn count_machines(input: Input, host: Host) -> Result<Count> {
    let listing = host
        .organisation()
        .group(input.groups)
        .region(input.regions)
        .list_partial()
        .await?;
    if !listing.missing_regions.is_empty() {
        host.warn(&format!(
            "no answer from {}: the count is partial",
            listing.missing_regions.join(", ")
        ));
    }
    Ok(count(listing))
}

fn count(listing: Listing) -> Count {
    let mut count = Count {
        partial: !listing.missing_regions.is_empty(),
        ..Count::default()
    };
    count.missing_regions = listing.missing_regions;
    count.left_out = listing.left_out;
    for machine in &listing.machines {
        count.total += 1;
        for (totals, key) in [
            (&mut count.by_app, &machine.app),
            (&mut count.by_group, &machine.group),
            (&mut count.by_state, &machine.state),
            (&mut count.by_region, &machine.region),
        ] {
            *totals.entry(key.clone()).or_default() += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use groundcrew_plugin::Summary;
    use groundcrew_plugin::testing::{TestHost, machine};

    use super::*;

    fn fleet() -> TestHost {
        TestHost::new()
            .machines((0..2500).map(|n| machine("web", &format!("w{n}"))))
            .machine(Summary {
                region: "ams".to_owned(),
                group: "worker".to_owned(),
                ..machine("jobs", "j1")
            })
            .machine(Summary {
                state: "stopped".to_owned(),
                ..machine("jobs", "j2")
            })
    }

    #[test]
    fn counts_everything_across_pages() {
        let count = fleet()
            .run(|host| count_machines(Input::default(), host))
            .result
            .unwrap();
        assert_eq!((count.total, count.partial), (2502, false));
        assert_eq!((count.by_app["web"], count.by_app["jobs"]), (2500, 2));
        assert_eq!(
            (
                count.by_group["worker"],
                count.by_region["ams"],
                count.by_state["stopped"]
            ),
            (1, 1, 1)
        );
    }

    #[test]
    fn narrows_by_group_and_region() {
        let input = Input {
            groups: vec!["worker".to_owned()],
            regions: vec!["ams".to_owned()],
        };
        let count = fleet()
            .run(|host| count_machines(input, host))
            .result
            .unwrap();
        assert_eq!(count.total, 1);
    }

    #[test]
    fn says_that_a_count_is_partial() {
        let tested = fleet()
            .missing_region("ams")
            .left_out(7)
            .run(|host| count_machines(Input::default(), host));
        let count = tested.result.unwrap();
        assert_eq!((count.total, count.partial), (2501, true));
        assert_eq!(
            (count.missing_regions, count.left_out),
            (vec!["ams".to_owned()], 7)
        );
        assert_eq!(tested.notes, ["no answer from ams: the count is partial"]);
    }
}
