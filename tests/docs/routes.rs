//! The admin routes that the sources have: those whose handler takes an `Admin<…>`.

use std::collections::BTreeSet;

use super::files;
use super::route_table::{Route, routes};

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
    let routes = sources.iter().flat_map(|text| admin_routes(text));
    routes.map(|(route, permission)| format!("{route} for {}", scopes(&permission))).collect()
}

/// Every route: "GET /health".
pub(crate) fn all() -> BTreeSet<String> {
    let sources: Vec<String> = files("src", "rs").into_iter().map(|(_, text)| text).collect();
    let named = |Route { method, path, .. }| format!("{method} {path}");
    sources.iter().flat_map(|text| routes(text)).map(named).collect()
}

/// Method, path and permission of every admin route of a file.
fn admin_routes(rust: &str) -> Vec<(String, String)> {
    let admin =
        |Route { method, path, handler }| Some((format!("{method} {path}"), permission(rust, &handler)?));
    routes(rust).into_iter().filter_map(admin).collect()
}

/// What the handler's signature asks of its caller.
fn permission(rust: &str, handler: &str) -> Option<String> {
    let (_, after) = rust.split_once(&format!("fn {handler}("))?;
    let signature = after.split('{').next()?;
    let (_, admin) = signature.split_once("Admin<")?;
    Some(admin.split('>').next()?.to_owned())
}

#[test]
fn admin_routes_are_told_from_others() {
    let rust = r#"
        .route("/a/{id}", get(read).patch(update))
        .route("/b", post(open))
        async fn read(mut admin: Admin<Look>, Id(id): Id) -> X { }
        async fn update(State(app): State<App>, admin: Admin<Change>) -> X { }
        async fn open(State(app): State<App>) -> X { Admin<Look> }"#;
    let expected = [("GET /a/{id}", "Look"), ("PATCH /a/{id}", "Change")];
    assert_eq!(admin_routes(rust), expected.map(|(route, name)| (route.to_owned(), name.to_owned())));
}
