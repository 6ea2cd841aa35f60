/* The service's parts stand on this: what has which number, and the news. */
#include "kinds/instance/service_inside.h"

#include "base/clock.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- look-ups ---- */

const struct instance_service_settings *instance_service_settings(const struct instance_service *s)
{
        return &s->settings;
}

const struct instance_machine *instance_service_machine_set(const struct instance_service *s, unsigned i)
{
        return &s->machine[i].set;
}

const struct instance_address_plan *instance_service_vip_set(const struct instance_service *s, unsigned i)
{
        return &s->vip[i].plan;
}

struct instance_front *instance_service_front(struct instance_service *s)
{
        return s->front;
}

struct dog_group *instance_service_group(const struct instance_service *s, unsigned vip)
{
        return vip < s->vips ? s->vip[vip].group : NULL;
}

int instance_service_vip_of(const struct instance_service *s, unsigned number)
{
        for (unsigned i = 0; i < s->vips; i++)
                if (s->vip[i].number == number)
                        return (int)i;
        return -1;
}

int instance_service_seat_of(const struct instance_service *s, unsigned server, unsigned *vip)
{
        for (unsigned i = 0; i < s->vips && server != INSTANCE_NOBODY; i++)
                for (unsigned k = 0; k < s->vip[i].plan.seats; k++)
                        if (s->vip[i].seat[k].number == server) {
                                *vip = i;
                                return (int)k;
                        }
        return -1;
}

unsigned instance_service_vip_number(const struct instance_service *s, unsigned vip)
{
        return s->vip[vip].number;
}

unsigned instance_service_server_number(const struct instance_service *s, unsigned vip, unsigned seat)
{
        return s->vip[vip].seat[seat].number;
}

int instance_service_machine_of(const struct instance_service *s, const char *name)
{
        for (unsigned i = 0; i < s->machines; i++)
                if (strcmp(s->machine[i].set.name, name) == 0)
                        return (int)i;
        return -1;
}

const char *service_server_name(const struct instance_service *s, unsigned number)
{
        unsigned vip;
        int seat = instance_service_seat_of(s, number, &vip);
        return seat < 0 ? NULL : s->machine[s->vip[vip].plan.seat[seat].machine].set.name;
}

/* ---- news ---- */

void service_tell(struct instance_service *s, const struct instance_news *n, const char *format, ...)
{
        char text[400];
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        struct instance_news told = *n;
        told.text = text;
        if (told.at_ns == 0)
                told.at_ns = dog_clock_mono_ns();
        if (told.count == 0 || !told.from)
                told.quiet_ms = (double)NAN;
        if (s->settings.news)
                s->settings.news(s->settings.user, &told);
}
