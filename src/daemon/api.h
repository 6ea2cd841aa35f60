#pragma once
/**
 * The daemon's front desk: a UNIX socket on which one line of JSON is a question and one line
 * is the answer.
 *
 *     {"ask":"paths"}                  -> {"ok":true,"answer":[...]}
 *     {"ask":"explain","id":12}        -> {"ok":true,"answer":{...}}
 *     {"ask":"events","follow":true}   -> {"ok":true,"answer":[...]} and then one line an event
 *     {"ask":"nonsense"}               -> {"ok":false,"error":"...","code":2}
 *
 * Who may ask is decided by the socket's mode (0660) and its folder. Everything is bounded:
 * clients, length of a question, what waits for a slow reader (it is dropped).
 */
#include "base/err.h"

#include <jansson.h>
#include <uv.h>

#define DOG_API_SOCKET  "/run/sundog/api.sock"
#define DOG_API_LINE    4096
#define DOG_API_CLIENTS 32
#define DOG_API_BACKLOG (1 << 20) /**< bytes that may wait for one reader */

struct dog_api;

/**
 * Answers one question.
 * @param question  an object with a string "ask"
 * @param error     filled when there is no answer
 * @return a new reference, or NULL and a sentence in e
 */
typedef json_t *dog_api_answer_fn(void *user, const json_t *question, struct dog_err *e);

/**
 * Listen. A socket file that nobody listens on any more is replaced; one that somebody does is
 * refused with -EADDRINUSE.
 */
int dog_api_open(struct dog_api **api, uv_loop_t *loop, const char *path, dog_api_answer_fn *answer,
                 void *user, struct dog_err *e);
/** Stop listening, hang up on everybody and remove the socket file; memory is freed once the loop ran. */
void dog_api_close(struct dog_api *api);
/** Tell an event to everybody who follows. The object stays the caller's. */
void dog_api_publish(struct dog_api *api, const json_t *event);
