//! What is seen to before anything is made: nobody else is at work, and there is room.

use groundcrew_plugin::{Error, Host, Kind, Lease, Machine, Result};

use crate::pool::Pool;

/// Leases one Machine of each process group and release, so that whoever else deploys this app finds
/// it taken, wherever it runs: two deploys beside the same Machines would double them.
pub(crate) async fn alone(host: &Host, pool: &Pool) -> Result<Vec<Lease>> {
    let work = async |machine: &Machine| machine.lease().await;
    let leases = host.for_each(pool.anchors(), 20, work).await;
    let taken: Result<Vec<Lease>> = leases.into_iter().collect();
    taken.map_err(|error| {
        let text = format!("somebody else is at work here, and nothing was done: {error}");
        Error::new(error.kind(), text)
    })
}

/// Whether each region has room for the Machines that are missing there, as far as Fly says. No
/// reservation, so that a create may be refused all the same.
pub(crate) async fn has_room(host: &Host, pool: &Pool, surge: usize) -> Result<()> {
    let needs = pool.needs(surge);
    let ask = async |(region, like, count): (String, Machine, usize)| {
        let rooms = host.capacity(&like, vec![region.clone()], count).await;
        (region, count, rooms)
    };
    for (region, count, rooms) in host.for_each(needs, 20, ask).await {
        let rooms = match rooms {
            Ok(rooms) => rooms,
            Err(error) if error.kind() == Kind::Cancelled => return Err(error),
            Err(error) => {
                host.warn(&format!("whether {region} has room is not known: {error}"));
                continue;
            }
        };
        let room = rooms.iter().find(|room| room.region == region);
        let room = room.map_or(count, |room| room.machines as usize);
        if room < count {
            return Err(Error::new(
                Kind::Capacity,
                format!(
                    "{region} has room for {room} of {count} new Machines, and nothing was done: a smaller `max_surge` needs less"
                ),
            ));
        }
    }
    Ok(())
}
