//! The admin routes that the sources have: those whose handler takes an `Admin<…>`.

use std::collections::BTreeSet;

use super::files;
use super::route_table::{self, Route, of};

/// Every admin route with the scopes of which one is enough: "GET /agents/registry for nhi:manage".
pub(crate) fn admin() -> BTreeSet<String> {
    let sources: Vec<String> = files("src", "rs").into_iter().map(|(_, text)| text).collect();
    let scopes = |permission: &str| {
        let implementation = format!("impl Permission for {permission} {{");
        let found = sources.iter().find_map(|text| text.split_once(&implementation));
        let (_, body) = found.unwrap_or_else(|| panic!("no `{implementation}`"));
        let body = body.split('}').next().unwrap_or_default();
        match body.split('"').skip(1).step_by(2).collect::<Vec<_>>().join(" ") {
            none if none.is_empty() => "any credential".to_owned(),
            scopes => scopes,
        }
    };
    let line = |Route { method, path, permission }: Route| {
        Some(format!("{method} {path} for {}", scopes(&permission?)))
    };
    route_table::all().into_iter().filter_map(line).collect()
}

/// Every route: "GET /health".
pub(crate) fn all() -> BTreeSet<String> {
    route_table::all().into_iter().map(|route| format!("{} {}", route.method, route.path)).collect()
}

#[test]
fn admin_routes_are_told_from_others() {
    let rust = r#"
        .route("/a/{id}", get(read).patch(update))
        .route("/b", post(open))
        async fn read(mut admin: Admin<Look>, Id(id): Id) -> X { }
        async fn update(State(app): State<App>, admin: Admin<Change>) -> X { }
        async fn open(State(app): State<App>) -> X { Admin<Look> }"#;
    let route = |method: &str, path: &str, permission: Option<&str>| Route {
        method: method.to_owned(),
        path: path.to_owned(),
        permission: permission.map(str::to_owned),
    };
    let expected = [
        route("GET", "/a/{id}", Some("Look")),
        route("PATCH", "/a/{id}", Some("Change")),
        route("POST", "/b", None),
    ];
    assert_eq!(of(rust), expected);
}
