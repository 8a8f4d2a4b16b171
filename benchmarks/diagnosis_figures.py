"""The figures that diagnosis has to show, each with its target."""

from claims import at_least, at_most, below, exactly, in_words
from diagnosis_peers import OURS, RULES

FIGURES = (
    at_least("drills", "harmful_found_within_their_window", 0.95),
    at_least("drills", "cause_right_of_those_found", 0.9),
    at_least("drills", "culprit_named_first", 0.9),
    exactly("drills", "retraining_proposed_on_broken_data", 0),
    in_words("drills", "harmful_found_where_it_was_learnt", "reported: the data the checks were made on"),
    in_words("drills", "cause_right_where_it_was_learnt", "reported"),
    in_words("drills", "harmful_of_half_the_size_found", "reported"),
    in_words("pairs", "pairs_found_within_their_window", "reported"),
    in_words("pairs", "cause_right_of_pairs_found", "reported"),
    at_most("weeks", "alarms_of_a_model_year_without_incident", 1),
    in_words("weeks", "alarms_of_natural_weeks", "reported"),
    in_words("weeks", "alarms_of_benign_shifts", "reported"),
    at_most("minutes", "median_minutes_to_detection_at_ten_a_minute", 30),
    exactly("minutes", "dense_drills_missed", 0),
    at_most("months", "false_alarms_of_a_simulated_model_year", 1),
    at_least("estimates", "realised_inside_the_estimate_before_labels", 0.9),
    in_words("estimates", "realised_roc_auc_inside_the_estimate", "reported"),
    in_words("estimates", "realised_roc_auc_inside_nannyml_cbpe", "reported"),
    at_least("cost", "evidently_cpu_over_check_from_rows", 10),
    below("cost", "check_from_profiles_seconds", 1),
    *(in_words("peers", name, "reported") for names in (OURS, *(rule.figures for rule in RULES)) for name in names),
)
