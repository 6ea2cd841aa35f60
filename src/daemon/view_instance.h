#pragma once
/**
 * What the daemon shows of vips and instances, as JSON: the answers to `sundog vips`, `instances`, `conns`,
 * and what `drain` and `promote` did. Changes nothing but what promote is asked to.
 */
#include "core/loop.h"
#include "daemon/config.h"
#include "kinds/instance/service.h"

#include <jansson.h>

struct view_instance {
        const struct dog_config *config;
        struct dog_loop *loop;
        struct instance_service *service; /**< NULL: no vips */
};

json_t *view_vips(const struct view_instance *v, int64_t now_ns);
json_t *view_instances(const struct view_instance *v, int64_t now_ns);
/** Adds "node", what is said of its host, to the first row of each instance and vip of a forecast; gives it
 * back. */
json_t *view_forecast_hosts(const struct view_instance *v, json_t *rows, int64_t now_ns);
/** @param question  may have "vip", "instance" (names) and "most" */
json_t *view_conns(const struct view_instance *v, const json_t *question, int64_t now_ns, struct dog_err *e);
/** What is known of classes of requests. @param question  may have "vip" */
json_t *view_requests(const struct view_instance *v, const json_t *question, struct dog_err *e);
/** Protect a class again. @param question  "class": its number or its text, and perhaps "vip" */
json_t *view_forgive(const struct view_instance *v, const json_t *question, struct dog_err *e);
/** Adds "vips", "instances", their notes and whether something needs a person to what view_status made. */
json_t *view_instance_status(const struct view_instance *v, json_t *status, int64_t now_ns);
/** @param question  "instance", or "client" (ADDRESS:PORT) and perhaps "vip"; "dry": only say what would be
 * done */
json_t *view_promote(const struct view_instance *v, const json_t *question, struct dog_err *e);
/** What is left to do for an instance that is drained. */
json_t *view_drained(const struct view_instance *v, const char *name, int64_t now_ns);
