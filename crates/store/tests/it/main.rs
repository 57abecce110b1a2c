//! The contract of the store. Every test takes a function that opens an empty store, so that another engine joins with one line at the end.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking; the contract functions are no #[test] functions themselves"
)]

mod accounts;
mod admin;
mod audit;
mod composers;
mod crash;
mod filters;
mod find;
mod group_commit;
mod model;
mod objects;
mod support;

/// Makes one test per contract function for an engine.
macro_rules! contract {
    ($engine:ident, $open:path, { $($module:ident :: { $($test:ident),* $(,)? }),* $(,)? }) => {
        mod $engine {
            $( mod $module {
                $( #[test] fn $test() { crate::$module::$test($open); } )*
            } )*
        }
    };
}

contract!(sqlite, crate::support::sqlite, {
    objects::{
        inserted_object_is_found_by_every_identifier,
        loading_keeps_the_order_asked_for,
        taken_identifier_refuses_the_object_without_a_trace,
        update_changes_what_it_names_and_nothing_else,
        new_standard_id_replaces_the_old_one,
        references_are_seen_from_both_sides,
        relationships_are_listed_by_side_and_type,
        relationship_is_as_visible_as_its_ends,
        changed_markings_move_the_relationships_at_an_object,
        deleted_object_leaves_nothing_behind,
        end_of_a_relationship_is_not_deleted,
        row_numbers_are_not_reused_after_deletion_and_restart,
        time_of_creation_never_goes_back,
        merging_moves_references_ends_and_identifiers,
        history_is_ordered_and_tells_origins,
        parked_things_come_out_when_their_key_arrives,
        everything_survives_a_restart,
    },
    filters::{
        filters_match_what_they_say,
        negation_includes_objects_without_the_value,
        relationships_are_filtered_by_their_ends,
        nothing_is_found_by_what_is_hidden,
        large_lists_of_candidates_give_the_same_result,
        long_lists_of_values_are_answered,
        the_longest_lists_of_values_are_quick,
    },
    find::{
        pages_follow_each_other_without_gaps,
        every_order_pages_like_the_sorted_list,
        visibility_hides_rows_counts_and_pages,
        search_finds_words_phrases_and_prefixes,
        ranked_search_pages_without_gaps,
        totals_agree_with_what_is_listed,
        cursors_of_another_list_are_refused,
    },
    group_commit::{
        concurrent_writers_all_commit,
        failing_closure_undoes_only_itself,
        panicking_closure_undoes_only_itself_and_the_store_lives_on,
        waiting_writers_share_a_commit,
        reader_sees_one_moment,
        what_was_not_committed_is_gone_after_a_restart,
    },
    composers::{
        composers_are_one_for_each_user,
        what_belongs_to_a_managed_connector_goes_with_it,
        logs_are_bounded_by_lines_and_bytes,
        tombstones_stay_until_they_are_taken_away,
    },
    admin::{
        connectors_and_their_state_versions,
        works_count_and_keep_notes,
        works_are_listed_by_condition,
        settings_marks_and_pushes,
        second_opening_of_the_directory_is_refused,
        foreign_file_is_refused,
        check_finds_broken_invariants,
        memory_is_given_back_and_the_store_works_on,
    },
    accounts::{
        users_are_found_by_every_name,
        deleted_user_takes_everything_of_it_along,
        tokens_are_found_by_their_hash_only,
        groups_and_roles_are_found_by_every_name,
        every_change_that_decides_rights_has_a_version_of_its_own,
        version_of_rights_is_not_used_again_after_a_rollback,
        new_marking_is_granted_to_the_groups_that_get_every_one,
        deleted_marking_leaves_no_grant_default_or_limit,
        deleted_organization_has_no_members,
        sessions_end_by_id_by_user_and_by_age,
        failed_logins_are_counted_and_forgotten,
    },
    audit::{
        audit_is_searched_paged_and_pruned,
        history_of_a_marking_is_audited,
    },
    crash::{
        killed_process_loses_nothing_confirmed,
    },
    model::{
        random_operations_agree_with_a_simple_model,
    },
});
