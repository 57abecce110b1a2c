//! Users, groups, roles, tokens, the audit and the settings over GraphQL; the names of the tests begin with the numbers of the cases in the table of
//! the security model that they show.

mod audits;
mod confidence;
mod groups;
mod markings;
mod roles;
mod settings;
mod tokens;
mod users;

use serde_json::{Value, json};

use crate::{ADMIN, Fixture, data};

/// What most users of the tests have.
pub(crate) const READER: &[&str] = &["KNOWLEDGE", "APIACCESS_USETOKEN"];
/// What a user has who administers accounts without being almighty.
pub(crate) const MANAGER: &[&str] = &["KNOWLEDGE", "SETTINGS_SETACCESSES", "APIACCESS_USETOKEN"];

impl Fixture {
    /// The id that an operation of the administrator answers below these members.
    pub(crate) fn id(&self, query: &str, variables: Value, path: &str) -> String {
        let answer = self.run(query, variables);
        let id = answer.pointer(path).and_then(Value::as_str);
        id.unwrap_or_else(|| panic!("no {path} in {answer}"))
            .to_owned()
    }

    /// A role with capabilities; its id.
    pub(crate) fn role(&self, name: &str, capabilities: &[&str]) -> String {
        let query = "mutation M($input: RoleAddInput!) { roleAdd(input: $input) { id } }";
        let id = self.id(query, json!({ "input": { "name": name } }), "/roleAdd/id");
        for capability in capabilities {
            self.give_capability(&id, capability);
        }
        id
    }

    /// The id of a capability.
    pub(crate) fn capability(&self, name: &str) -> String {
        let all = self.run(
            "{ capabilities(first: 1000) { edges { node { id name } } } }",
            json!({}),
        );
        let edges = all["capabilities"]["edges"].as_array().unwrap();
        let found = edges.iter().find(|edge| edge["node"]["name"] == name);
        found.unwrap()["node"]["id"].as_str().unwrap().to_owned()
    }

    /// Adds a capability to a role.
    pub(crate) fn give_capability(&self, role: &str, capability: &str) {
        let input =
            json!({ "relationship_type": "has-capability", "toId": self.capability(capability) });
        self.run(
            "mutation M($id: ID!, $input: InternalRelationshipAddInput!) { roleEdit(id: $id) { relationAdd(input: $input) { id } } }",
            json!({ "id": role, "input": input }),
        );
    }

    /// A group with a maximum confidence; its id.
    pub(crate) fn group(&self, name: &str, confidence: u8) -> String {
        let level = json!({ "max_confidence": confidence, "overrides": [] });
        self.group_with(json!({ "name": name, "group_confidence_level": level }))
    }

    /// A group as given; its id.
    pub(crate) fn group_with(&self, input: Value) -> String {
        let query = "mutation M($input: GroupAddInput!) { groupAdd(input: $input) { id } }";
        self.id(query, json!({ "input": input }), "/groupAdd/id")
    }

    /// Adds what a group has: a role (`has-role`) or a marking (`accesses-to`).
    pub(crate) fn give_group(&self, group: &str, relationship: &str, to: &str) {
        self.run(
            "mutation M($id: ID!, $input: InternalRelationshipAddInput!) { groupEdit(id: $id) { relationAdd(input: $input) { id } } }",
            json!({ "id": group, "input": { "relationship_type": relationship, "toId": to } }),
        );
    }

    /// A user in these groups alone; its id.
    pub(crate) fn user(&self, name: &str, groups: &[&str]) -> String {
        self.user_with(json!({
            "name": name, "user_email": format!("{name}@example.org"), "password": "long enough for all", "groups": groups,
            "prevent_default_groups": true,
        }))
    }

    /// A user as given; its id.
    pub(crate) fn user_with(&self, input: Value) -> String {
        let query = "mutation M($input: UserAddInput!) { userAdd(input: $input) { id } }";
        self.id(query, json!({ "input": input }), "/userAdd/id")
    }

    /// A token for a user, which its role must allow it to use.
    pub(crate) fn token_of(&self, user: &str) -> String {
        let query = "mutation M($id: ID!, $input: UserTokenAddInput!) { userAdminTokenAdd(userId: $id, input: $input) { plaintext_token } }";
        let input = json!({ "name": "test", "duration": "UNLIMITED" });
        self.id(
            query,
            json!({ "id": user, "input": input }),
            "/userAdminTokenAdd/plaintext_token",
        )
    }

    /// A user whose only group has one role with these capabilities; its id and a token.
    pub(crate) fn person(&self, name: &str, capabilities: &[&str]) -> (String, String) {
        let role = self.role(&format!("{name}'s role"), capabilities);
        let group = self.group(&format!("{name}'s group"), 50);
        self.give_group(&group, "has-role", &role);
        let user = self.user(name, &[&group]);
        let token = self.token_of(&user);
        (user, token)
    }

    /// The code of the first error of an operation of a token's holder.
    pub(crate) fn refused(&self, token: &str, query: &str, variables: Value) -> String {
        let answer = self.run_as(token, query, variables);
        let name = answer["errors"][0]["name"].as_str();
        name.unwrap_or_else(|| panic!("no error for {query}: {answer}"))
            .to_owned()
    }

    /// The first error of an operation of the administrator, by code and message.
    pub(crate) fn failure(&self, query: &str, variables: Value) -> (String, String) {
        let error = self.fail(query, variables);
        let text = |member: &str| error[member].as_str().unwrap_or_default().to_owned();
        (text("name"), text("message"))
    }

    /// The id of a group that every platform has.
    pub(crate) fn known_group(&self, name: &str) -> String {
        let filters = json!({ "mode": "and", "filters": [{ "key": "name", "values": [name] }], "filterGroups": [] });
        let query = "query Q($filters: FilterGroup) { groups(filters: $filters) { edges { node { id } } } }";
        self.id(
            query,
            json!({ "filters": filters }),
            "/groups/edges/0/node/id",
        )
    }

    /// The data of an operation of a token's holder, which must come without errors.
    pub(crate) fn ok_as(&self, token: &str, query: &str, variables: Value) -> Value {
        data(self.run_as(token, query, variables), query)
    }
}

/// What is refused to everybody who lacks the capability: operation, variables.
#[test]
fn accounts_are_nobodys_business_without_the_capability() {
    let fixture = Fixture::new();
    let (_, token) = fixture.person("ann", READER);
    for query in [
        "{ users { edges { node { id } } } }",
        "{ user(id: \"x\") { id } }",
        "{ groups { edges { node { id } } } }",
        "{ group(id: \"x\") { id } }",
        "{ roles { edges { node { id } } } }",
        "{ role(id: \"x\") { id } }",
        "{ capabilities { edges { node { id } } } }",
        "{ sessions { sessions { id } } }",
        "{ audits { edges { node { id } } } }",
        "mutation { userAdd(input: { name: \"eve\" }) { id } }",
        "mutation { userEdit(id: \"x\") { delete } }",
        "mutation { groupAdd(input: { name: \"eve\", group_confidence_level: { overrides: [] } }) { id } }",
        "mutation { groupEdit(id: \"x\") { delete } }",
        "mutation { roleAdd(input: { name: \"eve\" }) { id } }",
        "mutation { roleEdit(id: \"x\") { delete } }",
        "mutation { userAdminTokenAdd(userId: \"x\", input: { name: \"t\", duration: UNLIMITED }) { token_id } }",
        "mutation { userAdminTokenRevoke(userId: \"x\", id: \"y\") }",
        "mutation { sessionKill(id: \"x\") }",
        "mutation { userSessionsKill(id: \"x\") }",
        "mutation { settingsEdit(id: \"x\") { fieldPatch(input: []) { id } } }",
        "mutation { connectorAccountAdd(name: \"Feed\") { token } }",
        "{ me { groups { edges { node { members { edges { node { id } } } } } } } }",
    ] {
        assert_eq!(
            fixture.refused(&token, query, json!({})),
            "FORBIDDEN_ACCESS",
            "{query}"
        );
    }
    let before = fixture.run("{ users { pageInfo { globalCount } } }", json!({}));
    assert_eq!(before["users"]["pageInfo"]["globalCount"], 2);
}

/// No field of what stands for a user or a token can answer a secret: neither password nor the hash of anything.
#[test]
fn no_field_of_users_and_tokens_holds_a_secret() {
    let fixture = Fixture::new();
    let fields = |of: &str| {
        let query = format!(
            "{{ __type(name: \"{of}\") {{ fields {{ name type {{ kind name ofType {{ kind name }} }} }} }} }}"
        );
        fixture.run(&query, json!({}))["__type"]["fields"]
            .as_array()
            .unwrap()
            .clone()
    };
    for of in [
        "User",
        "MeUser",
        "ApiToken",
        "SessionDetail",
        "Creator",
        "Member",
        "Log",
        "Settings",
    ] {
        for field in fields(of) {
            let name = field["name"].as_str().unwrap();
            for word in ["password_hash", "hash", "secret", "plaintext", "otp_qr"] {
                assert!(!name.contains(word), "{of}.{name}");
            }
            assert!(name != "password" && name != "token", "{of}.{name}");
        }
    }
    // whatever plain field there is, its value is none of the secrets that are in use
    let secret = fixture.token_of(&fixture.user("bob", &[&fixture.known_group("Administrators")]));
    let leaves = |of: &str| -> String {
        let scalars = fields(of).into_iter().filter(|field| {
            let kind = |of: &Value| of["kind"].as_str().unwrap_or_default().to_owned();
            let named = if field["type"]["ofType"].is_null() {
                &field["type"]
            } else {
                &field["type"]["ofType"]
            };
            ["SCALAR", "ENUM"].contains(&kind(named).as_str())
        });
        scalars
            .map(|field| field["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let query = format!(
        "{{ me {{ {me} api_tokens {{ {token} }} }} users {{ edges {{ node {{ {user} api_tokens {{ {token} }} sessions {{ {session} }} }} }} }} }}",
        me = leaves("MeUser"),
        token = leaves("ApiToken"),
        user = leaves("User"),
        session = leaves("SessionDetail"),
    );
    let told = fixture.run(&query, json!({})).to_string();
    assert!(told.contains("masked_token") && told.contains("bob@example.org"));
    for secret in [
        ADMIN,
        secret.as_str(),
        "a long password",
        "long enough for all",
        "$argon2id$",
    ] {
        assert!(!told.contains(secret), "{secret}");
    }
}

#[test]
fn strangers_learn_nothing_of_the_schema() {
    let fixture = Fixture::new();
    let query = "{ __schema { types { name } } }";
    let (status, answer) = fixture.post_json(&json!({ "query": query }), &[]);
    assert_eq!(status, 200);
    assert_eq!(answer["data"], Value::Null);
    assert_eq!(answer["errors"][0]["name"], "AUTH_REQUIRED");
    let hidden =
        "query Q { ...Inner } fragment Inner on Query { a: __type(name: \"User\") { name } }";
    assert_eq!(
        fixture.post_json(&json!({ "query": hidden }), &[]).1["errors"][0]["name"],
        "AUTH_REQUIRED"
    );
    fixture.run(query, json!({}));
}

#[test]
fn an_explanation_names_what_decides() {
    let fixture = Fixture::new();
    let (user, token) = fixture.person("ann", &["KNOWLEDGE_KNUPDATE", "APIACCESS_USETOKEN"]);
    let (other, _) = fixture.person("bob", READER);
    let red = "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed";
    let add = "mutation M($input: ReportAddInput!) { reportAdd(input: $input) { id } }";
    let report = |extra: Value| {
        let mut input = json!({ "name": extra.to_string(), "published": "2026-01-01T00:00:00Z", "confidence": 80 });
        input
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        fixture.id(add, json!({ "input": input }), "/reportAdd/id")
    };
    let (open, hidden) = (report(json!({})), report(json!({ "objectMarking": [red] })));
    let query = "query Q($user: ID, $action: String!, $object: ID!) { accessExplain(user: $user, action: $action, object: $object) {
        allowed action object entity_type user { id name } reasons { rule allowed text } } }";
    let explain = |user: &str, action: &str, object: &str| {
        fixture.run(
            query,
            json!({ "user": user, "action": action, "object": object }),
        )["accessExplain"]
            .clone()
    };
    let update = explain(&user, "update", &open);
    assert_eq!(
        (update["allowed"].clone(), update["user"]["name"].clone()),
        (json!(false), json!("ann"))
    );
    assert_eq!(update["entity_type"], "Report");
    let text = update.to_string();
    assert!(
        text.contains("ann's role")
            && text.contains("ann's group")
            && text.contains("80, which outweighs it"),
        "{text}"
    );
    let read = explain(&user, "read", &hidden);
    assert_eq!(read["allowed"], false);
    assert!(read.to_string().contains("TLP:RED is missing"), "{read}");
    // of oneself everybody may ask, about what he sees
    let own = fixture.ok_as(&token, query, json!({ "action": "read", "object": open }));
    assert_eq!(own["accessExplain"]["allowed"], true);
    assert_eq!(
        fixture.refused(&token, query, json!({ "action": "read", "object": hidden })),
        "FUNCTIONAL_ERROR"
    );
    assert_eq!(
        fixture.refused(
            &token,
            query,
            json!({ "user": other, "action": "read", "object": open })
        ),
        "FORBIDDEN_ACCESS"
    );
    assert_eq!(
        fixture
            .failure(query, json!({ "action": "burn", "object": open }))
            .0,
        "FUNCTIONAL_ERROR"
    );
}

#[test]
fn the_doctor_finds_connectors_with_too_much_power() {
    let fixture = Fixture::new();
    let register = "mutation { registerConnector(input: { id: \"6b5bbd1c-7a42-4f0e-9b5e-08d8a6c1f001\", name: \"Feed\", type: EXTERNAL_IMPORT, scope: [] }) { id } }";
    fixture.run(register, json!({}));
    let query = "{ doctor { severity code subject text remedy } }";
    let findings = fixture.run(query, json!({}))["doctor"].clone();
    let found = findings.as_array().unwrap().iter().any(|finding| {
        finding["severity"] == "dangerous" && finding["subject"].to_string().contains("Feed")
    });
    assert!(found, "{findings}");
    let (_, token) = fixture.person("ann", READER);
    assert_eq!(
        fixture.refused(&token, query, json!({})),
        "FORBIDDEN_ACCESS"
    );
}
