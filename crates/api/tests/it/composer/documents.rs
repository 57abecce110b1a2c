//! Documents of upstream's clients fit the schema, whatever is answered.

use ferrocti_graphql::{Engine, Limits, Schema};

/// The operations of xtm-composer with its selections.
pub(super) const GET_VERSION: &str = "query GetVersion { about { version } }";
pub(super) const GET_CONNECTORS: &str = "query GetConnectors { connectorsForManagers { id name manager_contract_hash manager_contract_image manager_current_status manager_requested_status manager_contract_configuration { key value encrypted } } }";
pub(super) const REGISTER: &str = "mutation RegisterConnectorsManager($input: RegisterConnectorsManagerInput!) { registerConnectorsManager(input: $input) { id about_version } }";
pub(super) const PING: &str = "mutation UpdateConnectorManagerStatus($input: UpdateConnectorManagerStatusInput!) { updateConnectorManagerStatus(input: $input) { id about_version } }";
pub(super) const CURRENT_STATUS: &str = "mutation UpdateConnectorCurrentStatus($input: CurrentConnectorStatusInput!) { updateConnectorCurrentStatus(input: $input) { id name manager_contract_hash manager_contract_image manager_current_status manager_requested_status manager_contract_configuration { key value encrypted } } }";
pub(super) const LOGS: &str = "mutation ReportConnectorLogs($input: LogsConnectorStatusInput!) { updateConnectorLogs(input: $input) }";
pub(super) const HEALTH: &str = "mutation UpdateConnectorHealth($input: HealthConnectorStatusInput!) { updateConnectorHealth(input: $input) }";

/// What upstream's pages ask, as far as it is about managed connectors.
const PAGES: &[&str] = &[
    "query Catalogs { catalogs { id name description contracts entity_type parent_types standard_id } }",
    "query Catalog($id: String!) { catalog(id: $id) { id name contracts } }",
    "query Contract($slug: String!) { contract(slug: $slug) { catalog_id contract } connectorManagers { id active } }",
    "query Managers { connectorManagers { id name public_key last_sync_execution about_version active } }",
    "query Manager($id: ID!) { connectorManager(managerId: $id) { id name representative { main secondary } metrics { name value } } }",
    "query Connectors { connectors { id name title active auto connector_trigger_filters connector_type connector_scope is_managed manager_current_status manager_requested_status manager_contract_image manager_contract_definition manager_contract_hash manager_contract_excerpt { title slug logo } manager_contract_configuration { key value } manager_connector_logs manager_health_metrics { restart_count started_at last_update is_in_reboot_loop } manager_connector_uptime update_available latest_compatible_version has_newer_incompatible_version last_seen_at connector_user { id name } jwks version slug built_in } }",
    "mutation Add($input: AddManagedConnectorInput!) { managedConnectorAdd(input: $input) { id manager_contract_image manager_requested_status connector_user_id connector_user { id name } manager { id } } }",
    "mutation Edit($input: EditManagedConnectorInput!) { managedConnectorEdit(input: $input) { id name manager_contract_configuration { key value } } }",
    "mutation Request($input: RequestConnectorStatusInput!) { updateConnectorRequestedStatus(input: $input) { id manager_current_status manager_requested_status } }",
    "mutation Delete($id: ID!) { deleteConnector(id: $id) }",
    "mutation Reset($id: ID!) { resetStateConnector(id: $id) { id connector_state connector_state_timestamp } }",
];

#[test]
fn documents_of_upstreams_composer_and_pages_fit_the_schema() {
    let schema = Schema::parse(&ferrocti_api::sdl::build()).unwrap();
    let engine = Engine::new(schema, Limits::default());
    let composer = [
        GET_VERSION,
        GET_CONNECTORS,
        REGISTER,
        PING,
        CURRENT_STATUS,
        LOGS,
        HEALTH,
    ];
    for document in composer.iter().chain(PAGES) {
        assert!(engine.prepare(document).is_ok(), "{document}");
    }
}
