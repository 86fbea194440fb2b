/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State of processes and threads, kind by kind and without ptrace: a process makes some state and
 * is collected through a source that is itself, the message travels as bytes, and a second process
 * runs the calls that plan() emits, for real, and is collected again. Both messages must be equal.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "proto/fs.pb-c.h"
#include "proto/creds.pb-c.h"
#include "proto/itimers.pb-c.h"
#include "proto/posix_timers.pb-c.h"
#include "proto/sigpending.pb-c.h"
#include "tests/lib/kind-stage.h"

#define PACKED_MAX 65536

/* ---- round trips ---- */

struct story {
	const char *name, *kind;
	void (*setup)(void);
	bool root;                           /* takes privilege */
	void (*level)(void *msg, bool back); /* evens out what may differ; BACK: puts in what
						belongs to this process */
};

struct parcel {
	int collected; /* what collect() returned; negative: failed */
	size_t len;
	uint8_t bytes[PACKED_MAX];
	char text[256];
};

static void collect_into(const struct story *s, struct parcel *to)
{
	const struct ckpt_kind *kind = ckpt_kind_find(s->kind);
	struct ckpt_err err = CKPT_ERR_INIT;
	ProtobufCMessage *msg;

	to->collected = collect(kind, &msg, &err);
	snprintf(to->text, sizeof(to->text), "%.250s", err.text);
	if (to->collected < 0)
		return;
	if (s->level)
		s->level(msg, false);
	to->len = protobuf_c_message_pack(msg, to->bytes);
}

static void original(const struct story *s, struct parcel *to)
{
	if (s->setup)
		s->setup();
	collect_into(s, to);
}

static void restored(const struct story *s, const struct parcel *from, struct parcel *to)
{
	const struct ckpt_kind *kind = ckpt_kind_find(s->kind);
	ProtobufCMessage *msg =
		protobuf_c_message_unpack(kind->message, NULL, from->len, from->bytes);
	struct stage *st = ckpt_new(arena, struct stage);

	to->collected = -1;
	if (s->level)
		s->level(msg, true);
	stage_init(st, s->kind, msg);
	if (stage_plan(st) < 0) {
		snprintf(to->text, sizeof(to->text), "plan: %.240s", st->err.text);
		return;
	}
	if (st->plan.problems.n) {
		snprintf(to->text, sizeof(to->text), "problem: %.240s",
			 st->plan.problems.v[0].text);
		return;
	}
	if (stage_run(st) < 0) {
		snprintf(to->text, sizeof(to->text), "run: %.240s", st->err.text);
		return;
	}
	collect_into(s, to);
}

static void round_trip(const struct story *s)
{
	struct parcel *p = mmap(NULL, 2 * sizeof(*p), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (s->root && geteuid()) {
		diag("%s: skipped, takes root", s->name);
		return;
	}
	p[0].collected = p[1].collected = -1;
	for (int i = 0; i < 2; i++) {
		pid_t pid = fork();
		int status = 0;

		if (!pid) {
			if (i)
				restored(s, &p[0], &p[1]);
			else
				original(s, &p[0]);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		if (!ok(status == 0 && p[i].collected == 0, "%s: %s %s", s->kind, s->name,
			i ? "restored" : "collected")) {
			diag("status %#x, collect %d: %s", status, p[i].collected, p[i].text);
			return;
		}
	}
	ok(p[0].len == p[1].len && !memcmp(p[0].bytes, p[1].bytes, p[0].len), "%s: %s is the same",
	   s->kind, s->name);
	munmap(p, 2 * sizeof(*p));
}

static void on_signal(int signo, siginfo_t *info, void *context)
{
	(void)signo, (void)info, (void)context;
}

static void setup_actions(void)
{
	struct sigaction a = { .sa_sigaction = on_signal,
			       .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART };

	sigaddset(&a.sa_mask, SIGTERM);
	sigaction(SIGUSR1, &a, NULL);
	sigaction(SIGRTMAX, &a, NULL);
	signal(SIGPIPE, SIG_IGN);
	a = (struct sigaction){ .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT };
	sigaction(SIGCHLD, &a, NULL);
}

static void setup_altstack(void)
{
	static char stack[65536];
	stack_t ss = { .ss_sp = stack,
		       .ss_size = sizeof(stack),
		       .ss_flags = (int)(1u << 31) }; /* SS_AUTODISARM */

	sigaltstack(&ss, NULL);
}

static void setup_itimers(void)
{
	struct itimerval t = { { 70, 0 }, { 1000, 500000 } };

	setitimer(ITIMER_REAL, &t, NULL);
	setitimer(ITIMER_PROF, &t, NULL);
}

static uint64_t rounded(uint64_t value, uint64_t unit)
{
	return (value + unit / 2) / unit * unit;
}

static void level_itimers(void *msg, bool back)
{
	Ckpt__Itimers *m = msg;

	for (int i = 0; !back && i < 3; i++)
		m->value_us[i] = rounded(m->value_us[i], 100000000);
}

static void make_timer(clockid_t clock, int notify, int signo, int64_t seconds, bool forget)
{
	struct {
		uint64_t value;
		int signo, notify, tid, pad[11];
	} ev = { 0x123456789a, signo, notify, getpid(), { 0 } };
	struct itimerspec its = { { 0, 5000000 }, { seconds, 0 } };
	int id;

	syscall(SYS_timer_create, clock, &ev, &id);
	if (forget)
		syscall(SYS_timer_delete, id);
	else if (seconds)
		syscall(SYS_timer_settime, id, 0, &its, NULL);
}

static void setup_timers(void)
{
	make_timer(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR2, 1000, false);
	make_timer(CLOCK_REALTIME, SIGEV_NONE, 0, 2000, true); /* leaves a gap in the ids */
	make_timer(CLOCK_REALTIME, SIGEV_NONE, 0, 2000, false);
	make_timer(CLOCK_BOOTTIME, SIGEV_THREAD_ID, SIGRTMIN, 0, false);
	make_timer(CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, SIGUSR1, 3000, false);
	make_timer(CLOCK_THREAD_CPUTIME_ID, SIGEV_SIGNAL, SIGUSR1, 3000, false);
}

static void level_timers(void *msg, bool back)
{
	Ckpt__PosixTimers *m = msg;

	for (size_t i = 0; i < m->n_timers; i++) {
		Ckpt__PosixTimer *t = m->timers[i];

		t->tid = !t->has_tid ? 0 : back ? getpid() : 1;
		if (!back)
			t->value_ns = rounded(t->value_ns, 100000000000);
	}
}

static void setup_limits(void)
{
	struct rlimit core = { 4096, 1 << 20 }, nofile = { 100, 300 }, pending = { 5, 50 };

	setrlimit(RLIMIT_CORE, &core);
	setrlimit(RLIMIT_NOFILE, &nofile);
	setrlimit(RLIMIT_SIGPENDING, &pending);
}

static void setup_sched(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	sched_setaffinity(0, sizeof(one), &one);
	setpriority(PRIO_PROCESS, 0, 7);
	prctl(PR_SET_TIMERSLACK, 123456);
	syscall(SYS_ioprio_set, 1, 0, (3 << 13) | 7); /* idle */
}

static void setup_fifo(void)
{
	struct sched_param param = { 3 };

	setpriority(PRIO_PROCESS, 0, 4);
	sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param);
}

static void setup_fs(void)
{
	if (chdir("/usr") < 0)
		_exit(1);
	umask(0135);
}

static void setup_name(void)
{
	prctl(PR_SET_NAME, "a (b)\n\\ c");
}

static void setup_prctl(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0);
}

static void setup_thread_prctl(void)
{
	personality(ADDR_NO_RANDOMIZE);
	prctl(PR_SET_PDEATHSIG, SIGUSR2);
}

static void write_self(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY);

	if (write(fd, text, strlen(text)) < 0)
		_exit(1);
	close(fd);
}

static void setup_oom(void)
{
	write_self("/proc/self/oom_score_adj", "321");
	write_self("/proc/self/coredump_filter", "0x11");
}

static void set_caps(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2] = {
		{ effective, permitted, inheritable },
		{ effective >> 32, permitted >> 32, inheritable >> 32 },
	};

	if (syscall(SYS_capset, &head, data) < 0)
		_exit(1);
}

static void setup_ordinary_user(void)
{
	gid_t groups[] = { 44, 4, 2000 };

	if (setgroups(3, groups) || setresgid(1000, 1001, 1002) || setresuid(1000, 1000, 1000))
		_exit(1);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static void setup_some_caps(void)
{
	uint64_t some = 1ull << CAP_NET_BIND_SERVICE | 1ull << CAP_NET_RAW;

	prctl(PR_SET_KEEPCAPS, 1);
	if (setresuid(1000, 1000, 1000))
		_exit(1);
	set_caps(here.creds.permitted, here.creds.permitted, some);
	prctl(PR_CAPBSET_DROP, CAP_SYS_TIME, 0, 0, 0);
	prctl(PR_CAPBSET_DROP, CAP_NET_RAW, 0, 0, 0); /* inheritable all the same */
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0);
	prctl(PR_SET_SECUREBITS,
	      SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE);
	set_caps(1ull << CAP_NET_RAW, some, some);
}

static void setup_root_without_caps(void)
{
	set_caps(0, 0, 0);
}

static void setup_saved_root(void)
{
	if (setresuid(1000, 1000, 0))
		_exit(1);
	syscall(SYS_setfsuid, 0);
}

static const struct story stories[] = {
	{ "handlers, ignored signals and flags of SIGCHLD", "sigactions", setup_actions },
	{ "an alternate stack that disarms itself", "sigaltstack", setup_altstack },
	{ "no alternate stack", "sigaltstack", NULL },
	{ "two timers", "itimers", setup_itimers, false, level_itimers },
	{ "timers of all sorts, with a gap", "posix_timers", setup_timers, false, level_timers },
	{ "lower limits", "rlimits", setup_limits },
	{ "limits as they are", "rlimits", NULL },
	{ "one processor, nice, slack, idle I/O", "sched", setup_sched },
	{ "nothing special", "sched", NULL },
	{ "a real-time thread that is nice", "sched", setup_fifo, true },
	{ "another directory and umask", "fs", setup_fs },
	{ "the clear address", "tid_address", NULL },
	{ "the list of mutexes", "robust_list", NULL },
	{ "a name with a newline", "comm", setup_name },
	{ "subreaper, no huge pages, not dumpable", "prctl", setup_prctl, true },
	{ "personality and the parent's death", "thread_prctl", setup_thread_prctl },
	{ "score and filter", "oom", setup_oom, true },
	{ "the caller's own", "creds", NULL },
	{ "an ordinary user with groups", "creds", setup_ordinary_user, true },
	{ "an ordinary user with capabilities", "creds", setup_some_caps, true },
	{ "root without capabilities", "creds", setup_root_without_caps, true },
	{ "a user that may become root again", "creds", setup_saved_root, true },
};

/* ---- signals that wait ---- */

static siginfo_t info_of(int signo, int code, int value)
{
	siginfo_t info = { .si_signo = signo, .si_code = code };

	info.si_pid = 4711;
	info.si_uid = 12;
	info.si_value.sival_int = value;
	return info;
}

/* Collects signals that are pending for real; what was said about them is made up. */
static void test_pending_collect(void)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	Ckpt__Sigpending *m;
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	kill(getpid(), SIGUSR1);
	kill(getpid(), SIGUSR2);
	raise(SIGTERM);
	queued[0][0] = info_of(SIGTERM, SI_TKILL, 0);
	queued[1][0] = info_of(SIGUSR1, SI_QUEUE, 5);
	is(collect(ckpt_kind_find("sigpending"), (void *)&m, &err), 0,
	   "pending signals are collected");
	is(m->n_own, 1, "one of the thread");
	is(m->n_shared, 2, "two of the process, one of them without details");
	is(((const siginfo_t *)m->shared[1].data)->si_signo, SIGUSR2, "the bare one");
	queued[1][1] = info_of(SIGSTOP, SI_USER, 0);
	is(collect(ckpt_kind_find("sigpending"), (void *)&m, &err), -EBUSY, "SIGSTOP is refused");
	is(err.number, CKPT_E_STOPPED, "by name");
}

static void test_pending_restore(void)
{
	siginfo_t in[] = { info_of(SIGTERM, SI_TKILL, 0), info_of(SIGRTMIN, SI_QUEUE, 1),
			   info_of(SIGRTMIN, SI_QUEUE, 2), info_of(SIGCHLD, CLD_EXITED, 3),
			   info_of(SIGUSR1, SI_TIMER, 4) };
	ProtobufCBinaryData data[5];
	Ckpt__Sigpending m = CKPT__SIGPENDING__INIT;
	struct stage *s = ckpt_new(arena, struct stage);
	static const int order[] = { 0, 4, 3, 1, 2 }; /* the thread's, then by number */
	struct timespec now = { 0, 0 };
	int n = 0;
	sigset_t all;

	for (int i = 0; i < 5; i++)
		data[i] = (ProtobufCBinaryData){ sizeof(in[i]), (uint8_t *)&in[i] };
	m.own = data, m.n_own = 1;
	m.shared = data + 1, m.n_shared = 4;
	stage_init(s, "sigpending", &m);
	is(stage_plan(s), 0, "pending signals are planned");
	is(s->builder.parked.n, 2, "SIGCHLD waits for the end");
	sigfillset(&all);
	sigdelset(&all, SIGCHLD);
	sigprocmask(SIG_SETMASK, &all, NULL);
	is(stage_run(s), 0, "and queued");
	sigaddset(&all, SIGCHLD);
	for (int i = 0; i < 5; i++) {
		siginfo_t got = { 0 };
		const siginfo_t *want = &in[order[i]];

		syscall(SYS_rt_sigtimedwait, &all, &got, &now, 8); /* the library changes si_code */
		n += got.si_signo == want->si_signo && got.si_code == want->si_code &&
		     got.si_pid == want->si_pid &&
		     got.si_value.sival_int == want->si_value.sival_int;
		if (got.si_signo != want->si_signo || got.si_code != want->si_code)
			diag("signal %d code %d, not %d code %d", got.si_signo, got.si_code,
			     want->si_signo, want->si_code);
	}
	is(n, 5, "all come as they were");
}

static void test_deleted_directory(void)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	char path[] = "/tmp/ckpt-test-XXXXXX";
	ProtobufCMessage *m;

	if (!mkdtemp(path) || chdir(path) || rmdir(path))
		exit(1);
	is(collect(ckpt_kind_find("fs"), &m, &err), 0, "a deleted working directory is kept");
	ok(((Ckpt__Fs *)m)->has_cwd_mode && !strcmp(((Ckpt__Fs *)m)->cwd, path),
	   "by its name and mode");
}

/* ---- in a namespace of our own ---- */

static void test_box(void)
{
	struct stage *s = ckpt_new(arena, struct stage);
	struct ckpt_err err = CKPT_ERR_INIT;
	Ckpt__Creds *before, *after;
	char map[32];

	if (!geteuid() && (setgroups(0, NULL) || setresgid(65534, 65534, 65534) ||
			   setresuid(65534, 65534, 65534)))
		exit(1);
	prctl(PR_SET_DUMPABLE, 1);
	is(ckpt_host_probe_creds(&here, arena, &err), 0, "an ordinary user");
	is(collect(ckpt_kind_find("creds"), (void *)&before, &err), 0, "its credentials");
	stage_init(s, "creds", before);
	s->host.box = true;
	ok(stage_plan(s) == 0 && !s->plan.problems.n && !s->plan.n_losses,
	   "can be restored in a namespace");
	if (unshare(CLONE_NEWUSER) < 0) {
		diag("no user namespace to be had: %s", strerror(errno));
		return;
	}
	snprintf(map, sizeof(map), "%u %u 1", before->uid[0], before->uid[0]);
	write_self("/proc/self/uid_map", map);
	write_self("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "%u %u 1", before->gid[0], before->gid[0]);
	write_self("/proc/self/gid_map", map);
	is(stage_run(s), 0, "are");
	is(collect(ckpt_kind_find("creds"), (void *)&after, &err), 0, "and collected again");
	ok(!memcmp(before->uid, after->uid, 16) && !memcmp(before->gid, after->gid, 16),
	   "the same ids");
	ok(!after->permitted && !after->effective && after->bounding == before->bounding,
	   "no capability is left");
}

int main(void)
{
	probe_here();
	for (size_t i = 0; i < sizeof(stories) / sizeof(stories[0]); i++)
		round_trip(&stories[i]);
	apart(test_pending_collect, "collecting pending signals");
	apart(test_pending_restore, "restoring pending signals");
	apart(test_deleted_directory, "a deleted directory");
	apart(test_box, "credentials in a namespace");
	return tap_end();
}
