#pragma once
/**
 * The table that says who serves a new flow, and who stands by for it.
 *
 * Primaries: Maglev hashing (Eisenbud et al., NSDI 2016, 3.4), every server walking its own permutation of
 * the table's places, their turns in proportion to weight. A server that comes or goes moves its own share of
 * the entries and a few per cent of the others.
 *
 * Standbys: for each entry a second choice, in proportion to standby weight, among those that are fit for it
 * and share no fate with the primary. Drawn from a second table of the same making at places that only the
 * entry's number decides, again until one fits: so the proportions hold under every primary, and a standby
 * stays as long as it and its primary do.
 *
 * Pure and deterministic: the same shares in whatever order give the same table on every machine.
 */
#include "kinds/instance/front.h"

#define INSTANCE_MAGLEV_SERVERS INSTANCE_SERVERS_MAX

/**
 * Build one row of instance_table.
 * @param row    INSTANCE_TABLE entries, all written. May be the row not in force of the mapped table
 * @param share  each server once; a weight that is negative or no number counts as 0
 * @param n      at most INSTANCE_MAGLEV_SERVERS
 * @return 0; -E2BIG for more servers, -EINVAL for one that is named twice or that cannot be, -ENOMEM; the row
 *         is not touched then. With nobody of weight above 0 every entry is NOBODY's
 */
int instance_maglev_build(struct instance_pick row[INSTANCE_TABLE], const struct instance_share *share,
                          unsigned n, struct dog_err *e);
