//! How many Machines fit into a region: a number that tests set, and nothing else. What a Machine
//! needs (guest, volume) is not weighed.

use crate::api::{self, ApiError};
use crate::fleet::Fleet;

/// How many Machines a region without a limit takes when nobody says how many. Assumed.
const UNLIMITED: u64 = 10_000;

/// How many launches at once a region answers with: what flyctl lowered its own pool to (flyctl
/// issue 3961). That Fly says the same is assumed.
const CONCURRENCY: u64 = 8;

impl Fleet {
    /// How many Machines a region holds from now on, of all apps together; `None` is any number.
    /// Those that are there already stay.
    pub fn set_capacity(&mut self, region: &str, machines: Option<u64>) {
        match machines {
            Some(machines) => drop(self.capacity.insert(region.to_owned(), machines)),
            None => drop(self.capacity.remove(region)),
        }
    }

    /// How many of so many Machines would fit into each region.
    pub fn placements(&self, request: &api::PlacementRequest) -> Result<api::Placements, ApiError> {
        let regions = self.regions_of(&request.region)?;
        let placed = regions.into_iter().map(|region| {
            let room = self.room(&region);
            let count = match (request.count, room) {
                (0, room) => room.unwrap_or(UNLIMITED),
                (asked, Some(room)) => asked.min(room),
                (asked, None) => asked,
            };
            api::RegionPlacement {
                region,
                count,
                concurrency: count.min(CONCURRENCY),
            }
        });
        Ok(api::Placements {
            regions: placed.collect(),
        })
    }

    /// Refuses one Machine more where there is no room for it.
    pub(crate) fn has_room(&self, region: &str) -> Result<(), ApiError> {
        match self.room(region) {
            Some(0) => Err(ApiError::insufficient_capacity()),
            Some(_) | None => Ok(()),
        }
    }

    fn room(&self, region: &str) -> Option<u64> {
        let capacity = self.capacity.get(region)?;
        let machines = self.apps.values().flat_map(|app| app.machines.values());
        let there = machines.filter(|machine| machine.region == region && !machine.state.gone());
        Some(capacity.saturating_sub(there.count() as u64))
    }
}
