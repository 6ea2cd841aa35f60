#pragma once
/**
 * The privileged end: reads one request, checks it, asks the policy, does it, answers. It keeps
 * no state that matters: what must last is pinned, so it may be killed at any time.
 */
#include "hands/bpf.h"
#include "hands/policy.h"

#include <stdbool.h>

struct dog_hands_server;

/** @param fd  the socket, borrowed; policy and objects are borrowed too */
int dog_hands_server_new(struct dog_hands_server **s, int fd, const struct dog_hands_policy *policy,
                         const struct dog_hands_object *objects, size_t n_objects, struct dog_err *e);
/** Closes what this session opened; pins stay. */
void dog_hands_server_free(struct dog_hands_server *s);

/** Serve one request, waiting for it. False when the peer has closed or does not read its replies. */
bool dog_hands_server_step(struct dog_hands_server *s);

/** Has this decider said that its start has worked? */
bool dog_hands_server_is_ready(const struct dog_hands_server *s);

/**
 * Serve until the peer closes.
 * @return 0, or a negative errno when it could not begin (pin folder, memory)
 */
int dog_hands_serve(int fd, const struct dog_hands_policy *policy, const struct dog_hands_object *objects,
                    size_t n_objects, struct dog_err *e);
