#pragma once
/**
 * Several trainings, one after the other, that can be stopped at any round and gone on with, on the same or
 * another number of threads, and come to the same bits.
 *
 * A state, in network byte order: 8 bytes "SUNDOGP\n"; u32 version 2; u64 key; u32 trainings done, and for
 * each u32 size and its trees (dog_gbt_write; size 0: there was nothing to learn); u32 size and the state of
 * the one at work (dog_gbt_trainer_save; 0: none); u64 checksum of all before it, against damage.
 */
#include "learn/gbt_train.h"

struct dog_gbt_job {
        const struct dog_table *table; /**< borrowed until the end */
        const uint8_t
                *use; /**< borrowed; one enum dog_block_use a block; NULL: all are learned from. Jobs of
                         the same table and the same array share their bins when they follow each other */
        unsigned target;
        struct dog_gbt_params params;
};

struct dog_gbt_jobs;

/**
 * @param job  copied; in this order they are done
 * @param key  of data and options: what a state belongs to
 * @return 0; -ENOMEM
 */
int dog_gbt_jobs_new(struct dog_gbt_jobs **to, const struct dog_gbt_job *job, unsigned count, uint64_t key,
                     struct dog_err *e);
void dog_gbt_jobs_free(struct dog_gbt_jobs *j);
/** One round. @return 1: there is more to do; 0: all is done; a negative error */
int dog_gbt_jobs_step(struct dog_gbt_jobs *j, struct dog_err *e);

struct dog_gbt_jobs_progress {
        unsigned done, of; /**< rounds */
        unsigned job;      /**< at work; the number of jobs at the end */
};
struct dog_gbt_jobs_progress dog_gbt_jobs_progress(const struct dog_gbt_jobs *j);

/** What a job came to, one target; NULL: it is not done, or its target was not known in any row to learn
 * from. Borrowed. */
const struct dog_gbt *dog_gbt_jobs_model(const struct dog_gbt_jobs *j, unsigned job);

/** Where it stands, as bytes; free(*bytes). */
int dog_gbt_jobs_save(const struct dog_gbt_jobs *j, uint8_t **bytes, size_t *size, struct dog_err *e);
/**
 * Go on from there. After an error nothing is done, as when it was new.
 * @return 0; -EINVAL with one sentence for what is no state, is damaged, or belongs to other data or options;
 * -ENOMEM
 */
int dog_gbt_jobs_resume(struct dog_gbt_jobs *j, const uint8_t *bytes, size_t size, struct dog_err *e);
