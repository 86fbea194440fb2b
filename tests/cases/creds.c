/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials, which the kernel keeps for each thread: users, groups, capabilities, secure bits.
 * Raw calls, because the C library's change all threads.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/lib/case.h"

#ifndef PR_CAP_AMBIENT
#define PR_CAP_AMBIENT 47
#define PR_CAP_AMBIENT_IS_SET 1
#define PR_CAP_AMBIENT_RAISE 2
#endif

struct creds {
	unsigned int uid[3], gid[3], fsuid, fsgid, groups[64];
	int n_groups, securebits, no_new_privs;
	struct __user_cap_data_struct caps[2];
	uint64_t bounding, ambient;
};

static void get(struct creds *c)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };

	memset(c, 0, sizeof(*c));
	syscall(SYS_getresuid, &c->uid[0], &c->uid[1], &c->uid[2]);
	syscall(SYS_getresgid, &c->gid[0], &c->gid[1], &c->gid[2]);
	c->fsuid = syscall(SYS_setfsuid, -1);
	c->fsgid = syscall(SYS_setfsgid, -1);
	c->n_groups = syscall(SYS_getgroups, 64, c->groups);
	syscall(SYS_capget, &head, c->caps);
	c->securebits = prctl(PR_GET_SECUREBITS);
	c->no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	for (int i = 0; i < 64; i++) {
		c->bounding |= (uint64_t)(prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1) << i;
		c->ambient |= (uint64_t)(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, i, 0, 0) == 1)
			      << i;
	}
}

static void set_caps(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = {
		{ effective, permitted, inheritable },
		{ effective >> 32, permitted >> 32, inheritable >> 32 },
	};

	CHECK_CALL(syscall(SYS_capset, &head, data));
}

static struct creds before[4];
static pthread_t threads[4];
static volatile int stop;
static volatile int ready;

static void *other_user(void *arg)
{
	(void)arg;
	CHECK_CALL(syscall(SYS_setgroups, 3, (unsigned int[]){ 5, 100, 4711 }));
	CHECK_CALL(syscall(SYS_setresgid, 1001, 1002, 1003));
	CHECK_CALL(syscall(SYS_setresuid, 1001, 1001, 1001));
	return &before[0];
}

static void *mixed_user(void *arg)
{
	(void)arg;
	CHECK_CALL(syscall(SYS_setresuid, 1001, 0, 1002));
	syscall(SYS_setfsuid, 77);
	syscall(SYS_setfsgid, 78);
	CHECK_CALL(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_KEEP_CAPS));
	return &before[1];
}

/* No user 0, but some capabilities, one of them ambient; a smaller bound. */
static void *few_caps(void *arg)
{
	uint64_t some = 1ull << CAP_KILL | 1ull << CAP_SYS_NICE;

	(void)arg;
	CHECK_CALL(prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT, 0, 0, 0));
	CHECK_CALL(prctl(PR_CAPBSET_DROP, CAP_MKNOD, 0, 0, 0));
	CHECK_CALL(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
	CHECK_CALL(syscall(SYS_setresuid, 1005, 1005, 1005));
	set_caps(1ull << CAP_KILL, some, some);
	CHECK_CALL(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_NICE, 0, 0));
	return &before[2];
}

static void *no_caps(void *arg)
{
	(void)arg;
	set_caps(0, 0, 0);
	CHECK_CALL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	return &before[3];
}

static void compare(const struct creds *b)
{
	struct creds now;

	get(&now);
	CHECK(!memcmp(now.uid, b->uid, sizeof(now.uid)));
	CHECK(!memcmp(now.gid, b->gid, sizeof(now.gid)));
	CHECK_INT(now.fsuid, b->fsuid);
	CHECK_INT(now.fsgid, b->fsgid);
	CHECK_INT(now.n_groups, b->n_groups);
	CHECK(!memcmp(now.groups, b->groups, sizeof(now.groups)));
	CHECK(!memcmp(now.caps, b->caps, sizeof(now.caps)));
	CHECK_INT(now.securebits, b->securebits);
	CHECK_INT(now.no_new_privs, b->no_new_privs);
	CHECK(now.bounding == b->bounding);
	CHECK(now.ambient == b->ambient);
}

static void *run(void *arg)
{
	struct creds *b = ((void *(*)(void *))arg)(NULL);

	get(b);
	__atomic_add_fetch(&ready, 1, __ATOMIC_ACQ_REL);
	while (!stop)
		test_sleep_ms(1);
	compare(b);
	return NULL;
}

static void setup(void)
{
	static void *(*const users[])(void *) = { other_user, mixed_user, few_caps, no_caps };

	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&threads[i], NULL, run, (void *)users[i]));
	CHECK(EVENTUALLY(ready == 4));
	/* A change of user makes the process undumpable; the leader is root and stays so. */
	CHECK_CALL(prctl(PR_SET_DUMPABLE, 1));
}

static void check(void)
{
	CHECK_INT(getuid(), 0);
	stop = true;
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_join(threads[i], NULL));
}

/* A daemon that has become an ordinary user, with a child that is still another. */
static struct creds mine, childs;

static void setup_child(void)
{
	CHECK_CALL(setgid(2002));
	CHECK_CALL(setuid(2002));
	get(&childs);
}

static void check_child(void)
{
	compare(&childs);
}

static void setup_daemon(void)
{
	case_child(setup_child, check_child);
	other_user(NULL);
	CHECK_CALL(prctl(PR_SET_DUMPABLE, 1));
	get(&mine);
}

static void check_daemon(void)
{
	compare(&mine);
	CHECK(setuid(0) < 0 && errno == EPERM);
}

CASES({ "each thread keeps its users, groups and capabilities", setup, check, .flags = CASE_ROOT },
      { "processes of other users stay so", setup_daemon, check_daemon, .flags = CASE_ROOT })
