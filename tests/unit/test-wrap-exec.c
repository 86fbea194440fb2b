/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that a program with the preloaded library starts, in each of the ways there are: they
 * never die of the reserved signal, have the library and its variables, and nothing else is
 * different. The program runs itself without the library and with it; a started one says what it
 * finds.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include "tests/unit/wrap-self.h"

#pragma GCC diagnostic ignored "-Wnonnull"

#define SELF "/proc/self/exe"
#define OWN_SIGNAL 64

int ckpt_now(void) __attribute__((weak));
extern char **environ;
static bool with; /* the library */
static char self[PATH_MAX], file[NAME_MAX + 1];

/* ---- the started one ---- */

static int has(const char *name, const char *text)
{
	const char *value = getenv(name);

	return value && strstr(value, text);
}

/* What it finds, in one line, on standard output; status 3. */
static int tell(int argc, char **argv)
{
	sigset_t mask;
	int n_env = 0, n_blocked = 0;

	for (char **e = environ; *e; e++)
		n_env++;
	sigprocmask(SIG_BLOCK, NULL, &mask);
	for (int i = 1; i <= 64; i++)
		n_blocked += sigismember(&mask, i) == 1;
	printf("args %d %s, mark %s, library %d, signal %s, preload %d, other %d, blocked %d "
	       "usr1 %d own %d, env %d\n",
	       argc, argv[argc - 1], getenv("MARK") ? getenv("MARK") : "-", ckpt_now != NULL,
	       getenv("CKPT_SIGNAL") ? getenv("CKPT_SIGNAL") : "-",
	       has("LD_PRELOAD", "libckpt-inproc.so"), has("LD_PRELOAD", "libother.so"), n_blocked,
	       sigismember(&mask, SIGUSR1), sigismember(&mask, OWN_SIGNAL), n_env);
	return 3;
}

/* ---- the ways to start one ---- */

enum way {
	EXECVE,
	EXECV,
	EXECVP,
	EXECVPE,
	EXECL,
	EXECLP,
	EXECLE,
	FEXECVE,
	EXECVEAT,
	EXECVEAT_FD,
	BY_NUMBER,
	SPAWN,
	SPAWNP,
	SPAWN_MASK,
	VFORK,
	SYSTEM,
	POPEN,
	N_WAYS
};
static const char *const names[] = { "execve",
				     "execv",
				     "execvp",
				     "execvpe",
				     "execl",
				     "execlp",
				     "execle",
				     "fexecve",
				     "execveat",
				     "execveat of a descriptor",
				     "syscall(SYS_execve)",
				     "posix_spawn",
				     "posix_spawnp",
				     "posix_spawn with a mask",
				     "vfork and execve",
				     "system",
				     "popen" };

static char *const args[] = { "self", "tell", "last one", NULL };

static void exec_by(enum way way, char *const env[])
{
	int fd;

	switch (way) {
	case EXECVE:
	case VFORK:
		execve(SELF, args, env);
		break;
	case EXECV:
		execv(SELF, args);
		break;
	case EXECVP:
		execvp(file, args);
		break;
	case EXECVPE:
		execvpe(file, args, env);
		break;
	case EXECL:
		execl(SELF, "self", "tell", "last one", NULL);
		break;
	case EXECLP:
		execlp(file, "self", "tell", "last one", NULL);
		break;
	case EXECLE:
		execle(SELF, "self", "tell", "last one", NULL, env);
		break;
	case FEXECVE:
		fd = open(SELF, O_RDONLY | O_CLOEXEC);
		fexecve(fd, args, env);
		break;
	case EXECVEAT:
		execveat(AT_FDCWD, SELF, args, env, 0);
		break;
	case EXECVEAT_FD:
		fd = open(SELF, O_PATH | O_CLOEXEC);
		execveat(fd, "", args, env, AT_EMPTY_PATH);
		break;
	case BY_NUMBER:
		syscall(SYS_execve, SELF, args, env);
		break;
	default:
		break;
	}
}

static bool takes_env(enum way way)
{
	return way != EXECV && way != EXECVP && way != EXECL && way != EXECLP && way != SYSTEM &&
	       way != POPEN;
}

static int spawned; /* 0: it was, and errno left alone */

static pid_t spawn_by(enum way way, char *const env[])
{
	posix_spawnattr_t attr;
	sigset_t mask;
	pid_t pid = -1;

	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &mask);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	errno = EDOM;
	spawned = way == SPAWNP ? posix_spawnp(&pid, file, NULL, NULL, args, env) :
				  posix_spawn(&pid, SELF, NULL, way == SPAWN_MASK ? &attr : NULL,
					      args, env);
	if (!spawned && errno != EDOM)
		spawned = errno;
	posix_spawnattr_destroy(&attr);
	return pid;
}

static int start_by(enum way way, char *const env[])
{
	char command[PATH_MAX + 40], line[500];
	int status = -1;
	pid_t pid;
	FILE *f;

	snprintf(command, sizeof(command), "exec '%s' tell 'last one'", self);
	switch (way) {
	case SYSTEM:
		return system(command);
	case POPEN:
		f = popen(command, "r");
		if (!f || !fgets(line, sizeof(line), f))
			return -1;
		fputs(line, stdout);
		fflush(stdout);
		return pclose(f);
	case SPAWN:
	case SPAWNP:
	case SPAWN_MASK:
		pid = spawn_by(way, env);
		break;
	case VFORK:
		pid = vfork();
		if (pid == 0) {
			execve(SELF, args, env);
			_exit(126);
		}
		break;
	default:
		pid = fork();
		if (pid == 0) {
			exec_by(way, env);
			_exit(126);
		}
	}
	return waitpid(pid, &status, 0) == pid ? status : -1;
}

/* The line that the started one printed. */
static const char *line_of(enum way way, char *const env[])
{
	static char line[500];
	int p[2], out = dup(1), status;
	ssize_t n;

	fflush(stdout);
	must(pipe2(p, O_CLOEXEC) == 0, "a pipe");
	fflush(stdout);
	dup2(p[1], 1);
	status = start_by(way, env);
	fflush(stdout);
	dup2(out, 1);
	close(out);
	close(p[1]);
	line[0] = 0;
	n = read(p[0], line, sizeof(line) - 1);
	line[n > 0 ? n : 0] = 0;
	close(p[0]);
	is(WIFEXITED(status) ? WEXITSTATUS(status) : -status, 3, names[way]);
	is(spawned, 0, "without a word");
	return line;
}

static size_t count(char *const env[])
{
	size_t n = 0;

	while (env[n])
		n++;
	return n;
}

/* How many variables are added: LD_PRELOAD, CKPT_SIGNAL, and CKPT_TEST of run_self(). */
#define ADDED (with ? 3 : 0)

static void test_ways(void)
{
	static char other[] = "LD_PRELOAD=/nowhere/libother.so";
	char *const fresh[] = { "MARK=fresh", NULL };
	char *const theirs[] = { "MARK=theirs", other, NULL };
	char *const without[] = { "MARK=off", "CKPT_SIGNAL=0", NULL };
	char want[500];

	for (enum way way = 0; way < N_WAYS; way++) {
		bool masked = way == SPAWN_MASK;
		const char *format = "args 3 last one, mark %s, library %d, signal %s, preload %d, "
				     "other %d, blocked %d usr1 %d own 0, env %d\n";

		snprintf(want, sizeof(want), format, "here", with, with ? "64" : "-", with, 0,
			 masked, masked, (int)count(environ));
		is_text(line_of(way, environ), want, "with the environment as it is");
		if (!takes_env(way))
			continue;
		snprintf(want, sizeof(want), format, "fresh", with, with ? "64" : "-", with, 0,
			 masked, masked, 1 + ADDED);
		is_text(line_of(way, fresh), want, "with one of its own");
		snprintf(want, sizeof(want), format, "theirs", with, with ? "64" : "-", with, 1,
			 masked, masked, 2 + ADDED - with);
		is_text(line_of(way, theirs), want, "with other libraries");
		snprintf(want, sizeof(want), format, "off", 0, "0", 0, 0, masked, masked, 2);
		is_text(line_of(way, without), want, "without us");
	}
}

/* ---- what fails ---- */

static bool own_blocked(void)
{
	char line[256];
	unsigned long long mask = 0;
	FILE *f = fopen("/proc/thread-self/status", "r");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "SigBlk: %llx", &mask);
	if (f)
		fclose(f);
	return mask >> (OWN_SIGNAL - 1) & 1;
}

/* What libc declares to be no null pointer is one. */
__attribute__((no_sanitize("nonnull-attribute"))) static void test_failures(void)
{
	char *const fresh[] = { NULL };
	static char *huge[50002];
	char **volatile nowhere = (char **)8;
	pid_t pid = 1;
	int fd;

	is(execve("/nowhere/at/all", args, fresh), -1, "no such program");
	is(errno, ENOENT, "and why");
	ok(!own_blocked(), "the signal is as it was");
	is(execvp("surely-not-there", args), -1, "nor on $PATH");
	is(errno, ENOENT, "and why");
	is(execve("/", args, fresh), -1, "a folder");
	is(errno, EACCES, "and why");
	is(execl("/nowhere", NULL, NULL), -1, "no argument at all");
	is(execve(SELF, args, nowhere), -1, "no environment there");
	is(errno, EFAULT, "and why");
	is(posix_spawn(&pid, "/nowhere", NULL, NULL, args, fresh), ENOENT, "none to spawn");
	is(posix_spawnp(&pid, "surely-not-there", NULL, NULL, args, fresh), ENOENT, "nor there");
	ok(!own_blocked(), "the signal is as it was");
	for (int i = 0; i < 50001; i++)
		huge[i] = "A=123456789012345678901234567890123456789012345678901234567890";
	is(execve(SELF, args, huge), -1, "far too much");
	is(errno, E2BIG, "and why");
	fd = open("script", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
	dprintf(fd, "exit 9\n");
	close(fd);
	is(execv("./script", args), -1, "no program");
	is(errno, ENOEXEC, "and why");
	pid = fork();
	if (pid == 0) {
		setenv("PATH", ".", 1);
		execvp("script", args);
		_exit(126);
	}
	waitpid(pid, &fd, 0);
	is(WEXITSTATUS(fd), 9, "but the shell knows it");
	ok(!own_blocked(), "the signal is as it was");
	unlink("script");
}

/* ---- system ---- */

static void *in_system(void *arg)
{
	*(int *)arg = system("sleep 30");
	return NULL;
}

static void nothing(int sig)
{
	(void)sig;
}

static void test_system(void)
{
	struct sigaction old, act = { .sa_handler = nothing };
	struct timespec start, end;
	sigset_t mask;
	pthread_t t;
	int status = 0;
	void *ret;

	is(system(NULL), 1, "there is a shell");
	is(WEXITSTATUS(system("exit 5")), 5, "its status");
	status = system("kill -9 $$");
	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "its death");
	sigaction(SIGINT, &act, NULL);
	is(WEXITSTATUS(system("kill -2 $PPID; exit 6")), 6, "is not interrupted");
	sigaction(SIGINT, NULL, &old);
	ok(old.sa_handler == nothing, "and puts the action back");
	status = system("kill -2 $$");
	is(WTERMSIG(status), SIGINT, "but its command can be");
	signal(SIGINT, SIG_IGN);
	is(WEXITSTATUS(system("kill -2 $$; exit 7")), 7, "unless that was so before");
	signal(SIGINT, SIG_DFL);
	sigprocmask(SIG_BLOCK, NULL, &mask);
	ok(!sigismember(&mask, SIGCHLD), "SIGCHLD comes again");
	clock_gettime(CLOCK_MONOTONIC, &start);
	must(!pthread_create(&t, NULL, in_system, &status), "a thread waits in it");
	usleep(100000);
	pthread_cancel(t);
	pthread_join(t, &ret);
	clock_gettime(CLOCK_MONOTONIC, &end);
	ok(ret == PTHREAD_CANCELED && end.tv_sec - start.tv_sec < 10, "it is cancelled");
	is(waitpid(-1, NULL, WNOHANG), -1, "and its command gone");
	is(errno, ECHILD, "and reaped");
	sigaction(SIGINT, NULL, &old);
	ok(old.sa_handler == SIG_DFL, "and the action is put back");
	signal(SIGCHLD, SIG_IGN);
	is(system("exit 5"), -1, "children that nobody can wait for");
	is(errno, ECHILD, "are said to be none");
	signal(SIGCHLD, SIG_DFL);
}

static volatile int waits_open;

static void *look_at_system(void *arg)
{
	(void)arg;
	waits_open = system(
		"sleep 0.2; grep -q '^SigBlk:.*[89a-f]...............$' /proc/$PPID/task/*/status");
	return NULL;
}

/* As long as its command runs, the calling thread must be there for a checkpoint. */
static void test_system_is_open(void)
{
	pthread_t t;

	pthread_create(&t, NULL, look_at_system, NULL);
	pthread_join(t, NULL);
	is(WEXITSTATUS(waits_open), 1, "nobody blocks the signal while the command runs");
}

/* ---- programs that will not have the library ---- */

static void test_static(void)
{
	char *const fresh[] = { NULL };
	char *const stat_args[] = { "static", NULL };
	char line[200] = "";
	int p[2], status = -1;
	pid_t pid;

	if (access("static", X_OK) != 0) {
		diag("no static programs can be built here");
		return;
	}
	must(pipe(p) == 0, "a pipe");
	pid = fork();
	if (pid == 0) {
		dup2(p[1], 1);
		execve("./static", stat_args, fresh);
		_exit(126);
	}
	waitpid(pid, &status, 0);
	is(read(p[0], line, sizeof(line) - 1), 2, "a static program");
	is_text(line, "0\n", "has nothing blocked");
	close(p[0]);
	close(p[1]);
}

static int told(void)
{
	static char path[PATH_MAX + 20];

	with = ckpt_now != NULL;
	setenv("MARK", "here", 1);
	setenv("_", "here", 1); /* shells set these */
	setenv("SHLVL", "0", 1);
	setenv("PWD", "/", 1);
	setenv("OLDPWD", "/", 1);
	must(readlink(SELF, self, sizeof(self) - 1) > 0, "this program is at %s", self);
	snprintf(file, sizeof(file), "%s", strrchr(self, '/') + 1);
	*strrchr(self, '/') = 0;
	snprintf(path, sizeof(path), "%s:/bin:/usr/bin", self);
	setenv("PATH", path, 1);
	strcat(strcat(self, "/"), file);
	test_ways();
	test_failures();
	test_system();
	test_system_is_open();
	test_static();
	return tap_end();
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/ckpt-wrap-XXXXXX";

	if (argc > 1 && !strcmp(argv[1], "tell"))
		return tell(argc, argv);
	if (argc > 1)
		return told();
	library_path();
	must(mkdtemp(dir) && !chdir(dir), "a folder");
	if (system("printf '%s' '#include <signal.h>\n#include <stdio.h>\nint main(void) { sigset_t s; "
		   "sigprocmask(0, 0, &s); printf(\"%d\\n\", sigismember(&s, 64)); }' > s.c && "
		   "cc -static -o static s.c 2>/dev/null"))
		diag("no static program");
	is(run_self(NULL, "without"), 0, "without the library");
	is(run_self("64", "with"), 0, "with it");
	if (chdir("/") || system(strcat(strcpy(self, "rm -r "), dir)))
		diag("%s is left", dir);
	return tap_end();
}
