#pragma once
/**
 * The decider's end of the conversation with hands. One call at a time, each a short wait (hands
 * does nothing that takes long but load programs: the verifier takes seconds for a large one).
 *
 * Poll dog_hands_client_fd() for reading: between calls it becomes readable only when hands is
 * gone, and then the decider should exit and be restarted together with it.
 */
#include "hands/message.h"
#include "hands/secret.h"

#include <stdbool.h>

struct dog_hands_client {
        int fd;
        uint64_t next_id;
        bool is_lost; /**< hands is gone or does not answer: every call fails from now on */
};

void dog_hands_client_init(struct dog_hands_client *c, int fd);
/** Closes the socket. */
void dog_hands_client_fini(struct dog_hands_client *c);
int dog_hands_client_fd(const struct dog_hands_client *c);

/** A request of this operation, all else zero. Fill request->as.<member>. */
struct dog_hands_request dog_hands_request_of(enum dog_hands_op op);

/** Tell that the start has worked: from now on a decider that ends is started again. */
int dog_hands_ready(struct dog_hands_client *c, struct dog_err *e);

/**
 * Ask, and wait for the answer, a minute at most.
 *
 * @param request  version and id are filled here
 * @param reply    filled on every outcome; reply->text may be worth telling on success too
 * @param fd       NULL, or where a descriptor goes that came along (-1: none); the caller closes it
 * @return what hands said (0 or a negative errno, sentence in e); -EPIPE when hands is gone,
 *         -ETIMEDOUT when it does not answer
 */
int dog_hands_call(struct dog_hands_client *c, struct dog_hands_request *request,
                   struct dog_hands_reply *reply, int *fd, struct dog_err *e);

/**
 * Read the key that hands knows by this name, anew from its file.
 * @param key  the caller clears it when it is no longer needed
 * @return 0; -EINVAL (no such name, or no key in the file), else what dog_hands_call() and dog_secret_open()
 * say
 */
int dog_hands_secret(struct dog_hands_client *c, const char *name, uint8_t key[DOG_SECRET_KEY],
                     struct dog_err *e);
