/* SPDX-License-Identifier: Apache-2.0 */
/* Labels of security modules, of which this machine need have none: files of /proc as such modules
 * write them, and what a restore under another label says. */
#include <string.h>
#include "proto/label.pb-c.h"
#include "tests/lib/kind-stage.h"

/* What a read gives: NULL: it fails with EINVAL, as where no module answers. */
static const struct recorded {
	const char *module, *name, *text;
} recorded[] = {
	{ "selinux", "attr/current", "system_u:system_r:container_t:s0:c1,c2" },
	{ "selinux", "attr/exec", "" },
	{ "selinux", "attr/fscreate", "" },
	{ "selinux", "attr/keycreate", "" },
	{ "selinux", "attr/sockcreate", "" },
	{ "setfscreatecon", "attr/current", "system_u:system_r:container_t:s0:c1,c2" },
	{ "setfscreatecon", "attr/fscreate", "system_u:object_r:etc_t:s0" },
	{ "apparmor", "attr/current", "docker-default (enforce)\n" },
	{ "aa_change_onexec", "attr/current", "unconfined\n" },
	{ "aa_change_onexec", "attr/exec", "exec lockdown (enforce)\n" },
};

static const char *module;

static int open_recorded(struct ckpt_source *src, pid_t tid, const char *name, struct ckpt_err *err)
{
	(void)src, (void)tid;
	for (size_t i = 0; i < sizeof(recorded) / sizeof(recorded[0]); i++) {
		const struct recorded *r = &recorded[i];
		int fd;

		if (strcmp(r->module, module) || strcmp(r->name, name))
			continue;
		fd = memfd_create(name, MFD_CLOEXEC);
		must(fd >= 0 && write(fd, r->text, strlen(r->text)) == (ssize_t)strlen(r->text) &&
			     lseek(fd, 0, SEEK_SET) == 0,
		     "a recording");
		return fd;
	}
	return ckpt_fail(err, -EINVAL, "%s: cannot read", name);
}

static int collect_of(const char *of, Ckpt__Label *m, struct ckpt_err *err)
{
	static const struct ckpt_source_ops ops = { .open_proc = open_recorded };
	struct ckpt_source src = { &ops };
	struct ckpt_collect c = { .src = &src, .arena = arena, .pid = getpid(), .tid = getpid() };

	module = of;
	ckpt__label__init(m);
	*err = (struct ckpt_err)CKPT_ERR_INIT;
	return ckpt_kind_find("label")->collect(&c, (void *)m, err);
}

static void test_collect(void)
{
	struct ckpt_err err;
	Ckpt__Label m;

	is(collect_of("none", &m, &err), 1, "no module: nothing to keep");
	is(collect_of("selinux", &m, &err), 0, "a context of SELinux");
	ok(!strcmp(m.current, "system_u:system_r:container_t:s0:c1,c2"), "is kept");
	is(collect_of("apparmor", &m, &err), 0, "a profile of AppArmor");
	ok(!strcmp(m.current, "docker-default (enforce)"), "is kept, without the newline");
	ok(collect_of("setfscreatecon", &m, &err) < 0 && err.number == CKPT_E_TASK_STATE &&
		   strstr(err.text, "fscreate: system_u:object_r:etc_t:s0"),
	   "a label for new files is named");
	ok(collect_of("aa_change_onexec", &m, &err) < 0 && err.number == CKPT_E_TASK_STATE &&
		   strstr(err.text, "exec: exec lockdown"),
	   "a profile for the next program is named");
}

static void plan_under(struct stage *s, char *was, const char *now)
{
	Ckpt__Label *m = ckpt_new(arena, Ckpt__Label);

	ckpt__label__init(m);
	m->current = was;
	stage_init(s, "label", m);
	s->host.label = now;
	ok(stage_plan(s) == 0, "%s, restored under %s", was, now ?: "no label");
}

static void test_plan(void)
{
	struct stage *s = ckpt_new(arena, struct stage);

	plan_under(s, "docker-default (enforce)", "docker-default (enforce)");
	ok(!s->plan.problems.n && !s->plan.n_losses, "is as it was");
	plan_under(s, "docker-default (enforce)", "unconfined");
	ok(s->plan.problems.n == 1 && s->plan.problems.v[0].number == CKPT_E_LABEL, "is refused");
	plan_under(s, "docker-default (enforce)", NULL);
	ok(!s->plan.problems.n && s->plan.n_losses == 1, "is a loss that is named");
	plan_under(s, "unconfined", NULL);
	ok(!s->plan.problems.n && !s->plan.n_losses, "loses nothing");
	plan_under(s, "unconfined", "docker-default (enforce)");
	is(s->plan.problems.n, 1, "is refused");
}

int main(void)
{
	probe_here();
	test_collect();
	test_plan();
	return tap_end();
}
