//! How one Machine is replaced.
//!
//! The replacement is made out of the proxy's service and comes into it when its checks pass; only
//! then is the old one destroyed. A replacement that does not get there is destroyed, and the old
//! one stays as it was. Where the old one was cordoned the new one stays so: whoever took it out of
//! service did not ask for it back.

use groundcrew_plugin::{Change, Created, Error, Host, Kind, Machine, Result};

use crate::Input;
use crate::plan::Order;

/// What became of one Machine.
pub(crate) struct Became {
    /// The id of what is there in its place, or beside it.
    pub(crate) replacement: Option<String>,
    /// It was destroyed.
    pub(crate) destroyed: bool,
    pub(crate) result: Result<()>,
}

impl Became {
    fn as_it_was(error: Error) -> Self {
        Self {
            replacement: None,
            destroyed: false,
            result: Err(error),
        }
    }
}

/// Holds the Machine's lease meanwhile, so that nobody else changes it. A host that is not reached
/// cannot give one, and then nobody can change it anyway.
pub(crate) async fn replace(host: &Host, input: &Input, order: &Order) -> Became {
    let old = &order.old;
    if !old.is_reachable() {
        return in_order(host, input, order).await;
    }
    let work = async { Ok(in_order(host, input, order).await) };
    let became = old.under_lease(host, work).await;
    became.unwrap_or_else(Became::as_it_was)
}

async fn in_order(host: &Host, input: &Input, order: &Order) -> Became {
    if input.destroy_first {
        destroy_then_make(host, input, order).await
    } else {
        make_then_destroy(host, input, order).await
    }
}

async fn make_then_destroy(host: &Host, input: &Input, order: &Order) -> Became {
    let old = &order.old;
    let made = match make(host, input, order).await {
        Ok(made) => made.machine,
        Err(error) => return Became::as_it_was(error),
    };
    host.item(&old.id).working("destroying it");
    match old.destroy().await {
        Ok(()) => Became {
            replacement: Some(made.id.clone()),
            destroyed: true,
            result: Ok(()),
        },
        // Nothing more can be sent but what takes back.
        Err(error) if error.kind() == Kind::Cancelled => {
            Became::as_it_was(take_back(&made, error).await)
        }
        Err(error) => {
            let why = format!(
                "{} is in order, and the old one is still there: {error}",
                made.id
            );
            Became {
                replacement: Some(made.id.clone()),
                destroyed: false,
                result: Err(Error::new(error.kind(), why)),
            }
        }
    }
}

/// For when there is no room for both.
async fn destroy_then_make(host: &Host, input: &Input, order: &Order) -> Became {
    host.item(&order.old.id).working("destroying it");
    if let Err(error) = order.old.destroy().await {
        return Became::as_it_was(error);
    }
    let made = make(host, input, order).await.map_err(|error| {
        let why = format!("it is destroyed, and there is no replacement: {error}");
        Error::new(error.kind(), why)
    });
    Became {
        replacement: made.as_ref().ok().map(|made| made.machine.id.clone()),
        destroyed: true,
        result: made.map(drop),
    }
}

/// Makes the replacement and brings it into service. A standby only has to be there.
async fn make(host: &Host, input: &Input, order: &Order) -> Result<Created> {
    let old = &order.old;
    host.item(&old.id).working("making its replacement");
    let runs = !old.is_standby();
    let guarded = runs && order.pattern.services > 0;
    let created = host
        .create_like(&order.pattern, change(order))
        .region(&old.region)
        .launch(runs)
        .cordoned(guarded)
        .send()
        .await?;
    if !runs {
        return Ok(created);
    }
    let new = &created.machine.id;
    host.item(&old.id)
        .working(format!("waiting for the checks of {new}"));
    let within = input.wait_timeout.duration();
    match created.into_service(within, guarded && !old.cordoned).await {
        Ok(()) => Ok(created),
        Err(error) => Err(take_back(&created.machine, error).await),
    }
}

/// A standby's replacement stands by for the same Machines; what is made like it would not.
fn change(order: &Order) -> Change {
    Change {
        standbys: order.old.is_standby().then(|| order.old.standbys.clone()),
        ..Change::default()
    }
}

/// Destroys a replacement that is not to stay, and says so. If it stays nevertheless, that is no
/// failure that may pass: a retry would make one more.
async fn take_back(made: &Machine, error: Error) -> Error {
    let id = &made.id;
    match made.destroy().await {
        Ok(()) => {
            let why = format!("the replacement {id} was destroyed again: {error}");
            Error::new(error.kind(), why)
        }
        Err(left) => {
            let lasting = matches!(error.kind(), Kind::Application | Kind::Cancelled);
            let kind = if lasting { error.kind() } else { Kind::Other };
            let why = format!("{error}; the replacement {id} is still there: {left}");
            Error::new(kind, why)
        }
    }
}
