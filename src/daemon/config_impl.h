#pragma once
/** What the files of the configuration share: config.c, config_value.c, config_check.c. Private. */
#include "daemon/config.h"
#include "daemon/config_keys.h"

/** No single value needs to be longer. */
#define CONFIG_TEXT_MAX 255

/** Zeroed memory that lives as long as the configuration; NULL when memory is short. */
void *dog_config_alloc(struct dog_config_pool *pool, size_t size);

/**
 * Read one value: all types but lists and sections. `at` is the field.
 * @param text  free of control characters, at most CONFIG_TEXT_MAX bytes
 * @return 0; -EINVAL, -ERANGE or -ENOMEM with a sentence that does not say where
 */
int dog_config_value_read(const struct config_key *key, const char *text, void *at,
                          struct dog_config_pool *pool, struct dog_err *e);

/** The size of one entry of a list of values; 0 for types that are not one. */
size_t dog_config_entry_size(enum config_type type);
int dog_config_entry_read(const struct config_key *key, const char *text, void *at, struct dog_err *e);

/** Print a value as it can be read back. `at` is the field; for lists of values: one entry. */
void dog_config_value_write(const struct config_key *key, const void *at, FILE *to);

/** Start a sentence with where it is about. Returns rc. */
int dog_config_fail(const struct dog_config_where *where, struct dog_err *e, int rc, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

/** Give numbers to what has none, resolve names, and check what one key alone cannot tell. */
int dog_config_check(struct dog_config *config, struct dog_err *e);
/** Look at the key files. */
int dog_config_check_files(const struct dog_config *config, struct dog_err *e);
