/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom ptrace(2) lets somebody look at: whose three user and group ids are all the looker's, who
 * has no capability that the looker lacks, and who is dumpable. That is ckpt itself, or else a
 * child that makes itself such a one and waits to be ended.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/state.h"
#include "engine/capture/witness.h"

struct ckpt_witness {
	struct ckpt_witness *next;
	pid_t pid; /* 0: it could not be had */
	uint32_t uid, gid;
};

static void ask_ourselves(struct ckpt_ourselves *o)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct caps[2] = { 0 };

	if (prctl(PR_GET_DUMPABLE) == 1 && getresuid(&o->uid[0], &o->uid[1], &o->uid[2]) == 0 &&
	    getresgid(&o->gid[0], &o->gid[1], &o->gid[2]) == 0 &&
	    syscall(SYS_capget, &head, caps) == 0)
		o->pid = getpid();
	o->permitted = caps[0].permitted | (uint64_t)caps[1].permitted << 32;
	o->asked = true;
}

/* We stay the same for as long as a capture takes, and every thread is compared with us. */
static bool is_ourselves(struct ckpt_ourselves *o, const struct ckpt_creds *creds)
{
	if (!o->asked)
		ask_ourselves(o);
	for (int i = 0; i < 3; i++)
		if (o->uid[i] != creds->uid[CKPT_ID_REAL] || o->gid[i] != creds->gid[CKPT_ID_REAL])
			return false;
	return o->pid && !(o->permitted & ~creds->permitted);
}

/* In the child, which may have been forked beside threads: system calls only. Raw, since libc would
 * have the others change their ids, too. */
static void bear_witness(uint32_t uid, uint32_t gid, pid_t parent, int ready)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[2] = { 0 };

	if (syscall(SYS_setresgid, gid, gid, gid) < 0 ||
	    syscall(SYS_setresuid, uid, uid, uid) < 0 || syscall(SYS_capset, &head, none) < 0 ||
	    prctl(PR_SET_DUMPABLE, 1) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
	    getppid() != parent || write(ready, "", 1) != 1)
		_exit(1);
	syscall(SYS_close_range, 0, ~0u, 0);
	for (;;)
		pause();
}

static pid_t call_witness(uint32_t uid, uint32_t gid)
{
	pid_t parent = getpid(), pid;
	int ends[2];
	char ready;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return 0;
	pid = fork();
	if (pid == 0)
		bear_witness(uid, gid, parent, ends[1]);
	close(ends[1]);
	CKPT_FD from = ends[0];
	if (pid > 0 && read(from, &ready, 1) == 1)
		return pid;
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return 0;
}

static pid_t find(struct ckpt_capture *c, const struct ckpt_creds *creds)
{
	uint32_t uid = creds->uid[CKPT_ID_REAL], gid = creds->gid[CKPT_ID_REAL];
	struct ckpt_ourselves now = { 0 }, *o = c ? &c->ourselves : &now;
	struct ckpt_witness *w;

	if (is_ourselves(o, creds))
		return o->pid;
	if (!c)
		return 0;
	for (w = c->witnesses; w && (w->uid != uid || w->gid != gid);)
		w = w->next;
	if (w)
		return w->pid;
	w = ckpt_new(c->arena, struct ckpt_witness);
	*w = (struct ckpt_witness){ c->witnesses, call_witness(uid, gid), uid, gid };
	c->witnesses = w;
	return w->pid;
}

pid_t ckpt_witness(struct ckpt_collect *c, const struct ckpt_creds *creds)
{
	return find(c->capture, creds);
}

void ckpt_witness_ahead(struct ckpt_capture *c)
{
	struct ckpt_err ignored = CKPT_ERR_INIT;
	struct ckpt_creds creds;
	char path[32], *status;

	snprintf(path, sizeof(path), "/proc/%d/status", c->opts->root);
	CKPT_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && ckpt_read_all(c->arena, fd, &status, NULL, &ignored) >= 0 &&
	    ckpt_creds_parse(c->arena, status, &creds, &ignored) >= 0)
		find(c, &creds);
}

void ckpt_witness_end(struct ckpt_capture *c)
{
	for (struct ckpt_witness *w = c->witnesses; w; w = w->next) {
		if (!w->pid)
			continue;
		kill(w->pid, SIGKILL);
		waitpid(w->pid, NULL, 0);
	}
}
