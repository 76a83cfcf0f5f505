//! From a method and a path to what is asked for.

/// What is asked for. The name of each is what fault rules and logs use.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    AppList,
    AppGet,
    AppDelete,
    List,
    Create,
    Get,
    Update,
    Destroy,
    Start,
    Stop,
    Restart,
    Suspend,
    Signal,
    Exec,
    Ps,
    Cordon,
    Uncordon,
    Wait,
    LeaseGet,
    Lease,
    Release,
    Metadata,
    MetadataGet,
    MetadataSet,
    MetadataDelete,
    MetadataPatch,
    Events,
    Versions,
    OrgMachines,
    Regions,
    Placements,
    CurrentTokens,
    ReleaseCreate,
    ReleaseStatus,
    ReleaseList,
    ReleaseCurrent,
    Query,
}

impl Verb {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Verb::AppList => "apps.list",
            Verb::AppGet => "apps.get",
            Verb::AppDelete => "apps.delete",
            Verb::List => "machines.list",
            Verb::Create => "machines.create",
            Verb::Get => "machines.get",
            Verb::Update => "machines.update",
            Verb::Destroy => "machines.destroy",
            Verb::Start => "machines.start",
            Verb::Stop => "machines.stop",
            Verb::Restart => "machines.restart",
            Verb::Suspend => "machines.suspend",
            Verb::Signal => "machines.signal",
            Verb::Exec => "machines.exec",
            Verb::Ps => "machines.ps",
            Verb::Cordon => "machines.cordon",
            Verb::Uncordon => "machines.uncordon",
            Verb::Wait => "machines.wait",
            Verb::LeaseGet => "machines.lease-get",
            Verb::Lease => "machines.lease",
            Verb::Release => "machines.release",
            Verb::Metadata => "machines.metadata",
            Verb::MetadataGet => "machines.metadata-get",
            Verb::MetadataSet => "machines.metadata-set",
            Verb::MetadataDelete => "machines.metadata-delete",
            Verb::MetadataPatch => "machines.metadata-patch",
            Verb::Events => "machines.events",
            Verb::Versions => "machines.versions",
            Verb::OrgMachines => "org.machines",
            Verb::Regions => "platform.regions",
            Verb::Placements => "platform.placements",
            Verb::CurrentTokens => "tokens.current",
            Verb::ReleaseCreate => "releases.create",
            Verb::ReleaseStatus => "releases.status",
            Verb::ReleaseList => "releases.list",
            Verb::ReleaseCurrent => "releases.current",
            Verb::Query => "metrics.query",
        }
    }

    pub(crate) const fn writes(self) -> bool {
        match self {
            Verb::AppDelete
            | Verb::Create
            | Verb::Update
            | Verb::Destroy
            | Verb::Start
            | Verb::Stop
            | Verb::Restart
            | Verb::Suspend
            | Verb::Signal
            | Verb::Exec
            | Verb::Cordon
            | Verb::Uncordon
            | Verb::Lease
            | Verb::Release
            | Verb::MetadataSet
            | Verb::MetadataDelete
            | Verb::MetadataPatch
            | Verb::ReleaseCreate
            | Verb::ReleaseStatus => true,
            Verb::AppList
            | Verb::AppGet
            | Verb::List
            | Verb::Get
            | Verb::Ps
            | Verb::Wait
            | Verb::LeaseGet
            | Verb::Metadata
            | Verb::MetadataGet
            | Verb::Events
            | Verb::Versions
            | Verb::OrgMachines
            | Verb::Regions
            | Verb::Placements
            | Verb::CurrentTokens
            | Verb::ReleaseList
            | Verb::ReleaseCurrent
            | Verb::Query => false,
        }
    }

    /// Whether it is about releases, which are not of the Machines API and know no such limits.
    pub(crate) const fn of_releases(self) -> bool {
        matches!(
            self,
            Verb::ReleaseCreate | Verb::ReleaseStatus | Verb::ReleaseList | Verb::ReleaseCurrent
        )
    }
}

/// A verb and what it is about; parts that the path does not name are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) verb: Verb,
    pub(crate) app: String,
    /// A Machine, or a release.
    pub(crate) id: String,
    /// A metadata key, or an organisation.
    pub(crate) key: String,
}

/// Reads a path; `None` is a route that does not exist.
pub(crate) fn parse(method: &str, path: &str) -> Option<Route> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (verb, app, id, key) = match (method, segments.as_slice()) {
        ("GET", ["v1", "apps"]) => (Verb::AppList, "", "", ""),
        ("GET", ["v1", "apps", app]) => (Verb::AppGet, *app, "", ""),
        ("DELETE", ["v1", "apps", app]) => (Verb::AppDelete, *app, "", ""),
        ("GET", ["v1", "orgs", org, "machines"]) => (Verb::OrgMachines, "", "", *org),
        ("GET", ["v1", "platform", "regions"]) => (Verb::Regions, "", "", ""),
        ("POST", ["v1", "platform", "placements"]) => (Verb::Placements, "", "", ""),
        ("GET", ["v1", "tokens", "current"]) => (Verb::CurrentTokens, "", "", ""),
        ("POST", ["api", "v1", "releases"]) => (Verb::ReleaseCreate, "", "", ""),
        ("PATCH", ["api", "v1", "releases", id]) => (Verb::ReleaseStatus, "", *id, ""),
        ("GET", ["api", "v1", "apps", app, "releases"]) => (Verb::ReleaseList, *app, "", ""),
        ("GET", ["api", "v1", "apps", app, "releases", "current"]) => {
            (Verb::ReleaseCurrent, *app, "", "")
        }
        (_, ["prometheus", org, "api", "v1", "query"]) if matches!(method, "GET" | "POST") => {
            (Verb::Query, "", "", *org)
        }
        ("GET", ["v1", "apps", app, "machines"]) => (Verb::List, *app, "", ""),
        ("POST", ["v1", "apps", app, "machines"]) => (Verb::Create, *app, "", ""),
        ("GET", ["v1", "apps", app, "machines", id]) => (Verb::Get, *app, *id, ""),
        ("POST", ["v1", "apps", app, "machines", id]) => (Verb::Update, *app, *id, ""),
        ("DELETE", ["v1", "apps", app, "machines", id]) => (Verb::Destroy, *app, *id, ""),
        (_, ["v1", "apps", app, "machines", id, "metadata", key]) => {
            (metadata(method)?, *app, *id, *key)
        }
        (_, ["v1", "apps", app, "machines", id, action]) => {
            (action_verb(method, action)?, *app, *id, "")
        }
        _ => return None,
    };
    Some(Route {
        verb,
        app: app.into(),
        id: id.into(),
        key: key.into(),
    })
}

fn metadata(method: &str) -> Option<Verb> {
    match method {
        "GET" => Some(Verb::MetadataGet),
        "POST" => Some(Verb::MetadataSet),
        "DELETE" => Some(Verb::MetadataDelete),
        _ => None,
    }
}

fn action_verb(method: &str, action: &str) -> Option<Verb> {
    match (method, action) {
        ("POST", "start") => Some(Verb::Start),
        ("POST", "stop") => Some(Verb::Stop),
        ("POST", "restart") => Some(Verb::Restart),
        ("POST", "suspend") => Some(Verb::Suspend),
        ("POST", "signal") => Some(Verb::Signal),
        ("POST", "exec") => Some(Verb::Exec),
        ("POST", "cordon") => Some(Verb::Cordon),
        ("POST", "uncordon") => Some(Verb::Uncordon),
        ("GET", "ps") => Some(Verb::Ps),
        ("GET", "wait") => Some(Verb::Wait),
        ("GET", "lease") => Some(Verb::LeaseGet),
        ("POST", "lease") => Some(Verb::Lease),
        ("DELETE", "lease") => Some(Verb::Release),
        ("GET", "metadata") => Some(Verb::Metadata),
        ("PUT" | "PATCH", "metadata") => Some(Verb::MetadataPatch),
        ("GET", "events") => Some(Verb::Events),
        ("GET", "versions") => Some(Verb::Versions),
        _ => None,
    }
}
