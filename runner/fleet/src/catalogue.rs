//! Everything that can go wrong in a simulated fleet, with an example of each: for people to choose from.

/// One of them.
#[derive(Copy, Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Entry {
    /// `fault`: of requests; `rate`: how often; `fate`: of a Machine; `image`: by the tag of its image.
    pub kind: &'static str,
    /// As it is written.
    pub example: &'static str,
    /// What happens.
    pub about: &'static str,
}

const fn fault(example: &'static str, about: &'static str) -> Entry {
    Entry {
        kind: "fault",
        example,
        about,
    }
}

const fn rate(example: &'static str, about: &'static str) -> Entry {
    Entry {
        kind: "rate",
        example,
        about,
    }
}

const fn fate(example: &'static str, about: &'static str) -> Entry {
    Entry {
        kind: "fate",
        example,
        about,
    }
}

const fn image(example: &'static str, about: &'static str) -> Entry {
    Entry {
        kind: "image",
        example,
        about,
    }
}

/// All of them.
pub const CATALOGUE: [Entry; 38] = [
    fault("machines.restart@5%:unavailable", "503, not done"),
    fault("machines.start@1:internal", "500, not done"),
    fault("machines.get@1%:bad-gateway", "502, not done"),
    fault("machines.stop@2:timeout", "408, not done"),
    fault(
        "machines.create@1:timeout-done",
        "408, and done all the same",
    ),
    fault(
        "machines.update@1:conflict",
        "409 by a concurrent update, not done",
    ),
    fault(
        "machines.create@1:capacity",
        "412 for want of resources, not done",
    ),
    fault(
        "machines.update@1:no-memory",
        "409 for want of memory on the host, not done",
    ),
    fault(
        "machines.create@1:quota",
        "403 by the organisation's quota, not done",
    ),
    fault(
        "volumes.create@1:no-capacity",
        "400 for want of capacity, not done",
    ),
    fault(
        "machines.update@1:host-disabled",
        "503 by a host that takes no deploys for now",
    ),
    fault("machines.create@1:invalid", "422, not done"),
    fault(
        "machines.lease@5%:rate-limited(3s)",
        "429 with a Retry-After, not done",
    ),
    fault(
        "machines.start@1:drop",
        "the connection is cut before anything is done",
    ),
    fault(
        "machines.restart@1:reply-lost",
        "done, and the connection is cut",
    ),
    fault(
        "machines.list@1:cut-off",
        "done, and the answer ends in the middle",
    ),
    fault(
        "machines.get@10%:slow(2s)",
        "done, and answered so much later",
    ),
    fault(
        "machines.stop@1:late(1500ms)",
        "503 now, and done so much later",
    ),
    fault(
        "machines.create@5%:unseen(400ms)",
        "made, and not known to get and wait for so long",
    ),
    rate("*@5%:unavailable", "a share of all requests, by the seed"),
    rate("machines.restart@3:drop", "only the third"),
    rate("machines.*@first-3:slow(2s)", "the first three"),
    rate(
        "machines.restart/148e01@1:drop",
        "only of one Machine, by the start of its id",
    ),
    fate(
        "web/0=never-starts",
        "its process exits with 1 after each start",
    ),
    fate("web/0=checks-fail", "it runs, and its checks fail"),
    fate("web/0=host-unreachable", "its host does not answer"),
    fate(
        "web/0=host-dies-on-restart",
        "its host stops answering once it was restarted",
    ),
    fate(
        "web/0=out-of-memory(5s)",
        "it is killed for want of memory, so long after each start",
    ),
    fate("web/0=slow-start(30s)", "it boots so slowly"),
    fate(
        "web/0=idle(1m)",
        "nobody uses it: the proxy stops it, if it may",
    ),
    fate("web/0=image-pull-fails", "no update can pull its image"),
    image(
        "registry.fly.io/web:sim-crash-loop",
        "exits with 1 after each start",
    ),
    image(
        "registry.fly.io/web:sim-unhealthy",
        "runs, and its checks fail",
    ),
    image(
        "registry.fly.io/web:sim-sickens",
        "its checks pass for a while, and then fail",
    ),
    image(
        "registry.fly.io/web:sim-exits-3",
        "ends by itself with this code",
    ),
    image("registry.fly.io/web:sim-slow-boot", "boots very slowly"),
    image("registry.fly.io/web:unpullable", "cannot be pulled"),
    image("registry.fly.io/web:2", "is fine"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fate::Fate;
    use crate::fault::{Fault, FaultRule};
    use crate::image;

    /// A new kind has to be put in here, and so into the catalogue.
    fn word(fault: Fault) -> &'static str {
        match fault {
            Fault::Unavailable => "unavailable",
            Fault::Internal => "internal",
            Fault::BadGateway => "bad-gateway",
            Fault::Timeout => "timeout",
            Fault::TimeoutDone => "timeout-done",
            Fault::Conflict => "conflict",
            Fault::Capacity => "capacity",
            Fault::NoMemory => "no-memory",
            Fault::Quota => "quota",
            Fault::NoCapacity => "no-capacity",
            Fault::HostDisabled => "host-disabled",
            Fault::Invalid => "invalid",
            Fault::RateLimited { .. } => "rate-limited",
            Fault::Drop => "drop",
            Fault::ReplyLost => "reply-lost",
            Fault::CutOff => "cut-off",
            Fault::Slow { .. } => "slow",
            Fault::Late { .. } => "late",
            Fault::Unseen { .. } => "unseen",
        }
    }

    #[test]
    fn every_example_is_read() {
        let mut words = std::collections::BTreeSet::new();
        for Entry { kind, example, .. } in CATALOGUE {
            match kind {
                "fault" | "rate" => {
                    let rule: FaultRule = example.parse().expect(example);
                    assert_eq!(rule.to_string(), example);
                    if kind == "fault" {
                        let fault: Fault = example.split_once(':').unwrap().1.parse().unwrap();
                        assert!(words.insert(word(fault)), "{example} is there twice");
                    }
                }
                "fate" => {
                    let fate: Fate = example.split_once('=').unwrap().1.parse().expect(example);
                    assert_ne!(fate, Fate::Normal);
                }
                "image" => {
                    let odd = image::marker(example).is_some() || image::unpullable(example);
                    assert!(odd || example.ends_with(":2"), "{example}");
                }
                other => panic!("{other}"),
            }
        }
        assert_eq!(words.len(), 19, "every kind of fault has its line");
    }
}
