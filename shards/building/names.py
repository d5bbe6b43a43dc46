"""Names of the sets."""

BANK, LABELS_VAL, SYNTHETIC = "labels", "labels_val", "synthetic"
REAL_T1_TRAIN = "real_t1_train"
VALIDATION_IMAGES = {"t1": "real_t1_val", "t2": "real_t2_val", "t2_SPACE": "real_t2_space_val"}
"""Sets of the validation patients' images, by the contrast in SPIDER's file names."""
LABELS_TEST = "labels_test"
TEST_IMAGES = {"t1": "real_t1_test", "t2": "real_t2_test", "t2_SPACE": "real_t2_space_test"}
"""Sets of the test patients' images; like their label maps, only built when requested by name."""
SETS = (BANK, LABELS_VAL, SYNTHETIC, REAL_T1_TRAIN, *VALIDATION_IMAGES.values())
"""All sets but those of the test patients, in the order in which they are built."""
TEST_SETS = (LABELS_TEST, *TEST_IMAGES.values())
