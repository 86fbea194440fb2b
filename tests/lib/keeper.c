/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a keeper runs ckpt. A story of a chain has its image go on from others, which are made first:
 * pre-dumps and dumps that leave it running, in turn, each on top of the one before.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/lib/keeper.h"
#include "tests/lib/story-options.h"

#define BETWEEN_MS 5 /* a little of what is tracked is written */

int keeper_fail(struct keeper *k, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(k->why, sizeof(k->why), fmt, ap);
	va_end(ap);
	return ROUND_FAILED;
}

/* What it printed is kept. */
static int run(struct keeper *k, char *const argv[])
{
	char *out = test_text("%s/ckpt.out", k->r->dir);
	int status;

	unlink(out);
	status = test_run(argv, out, "/", CKPT_MS);
	free(k->said);
	k->said = test_read(out, NULL);
	free(out);
	return status;
}

int keeper_ckpt(struct keeper *k, const char *command, char *const more[])
{
	bool dumps = !strcmp(command, "dump");
	char *argv[32];
	int n = 0, n_args;

	argv[n++] = (char *)k->r->ckpt;
	argv[n++] = (char *)command;
	for (int i = 0; more[i]; i++)
		argv[n++] = more[i];
	n_args = n;
	for (int i = 0; i < 4 && k->r->story->options[i] && strcmp(command, "check"); i++)
		argv[n++] = (char *)k->r->story->options[i];
	if (dumps && (k->r->story->flags & CASE_LIVE || getenv("CASE_LIVE")))
		argv[n++] = (char *)"--live";
	if (dumps && getenv("CASE_DUMP_OPTION"))
		argv[n++] = getenv("CASE_DUMP_OPTION");
	if (dumps && story_wants_copies(k->r->story) && !strcmp(argv[n_args - 1], "-R"))
		argv[n++] = (char *)"--max-freeze-action=copy";
	if (!strcmp(command, "restore") && story_lazy_option(k->r->story, k->r->user))
		argv[n++] = (char *)story_lazy_option(k->r->story, k->r->user);
	argv[n] = NULL;
	return run(k, argv);
}

char *keeper_image(struct keeper *k)
{
	return test_text("%s/img%d", k->r->dir, k->n_images);
}

/* Every other time it stands still until the image is written, otherwise there is a copy of it.
 * Short options are not the requester's. */
static int ask(struct keeper *k, char *dir, char *pid, bool goes_on)
{
	char *way = (k->n_images + k->r->user) % 2 ? "--snapshot" : "--stop";
	char *argv[16] = { (char *)k->r->inside->requester, "--wait", "30", "-D", dir,
			   goes_on ? way : "--kill" };
	int n = 6;

	for (int i = 0; i < 4 && k->r->story->options[i]; i++)
		if (!strncmp(k->r->story->options[i], "--", 2))
			argv[n++] = (char *)k->r->story->options[i];
	argv[n] = pid;
	return run(k, argv);
}

/* The Nth of the images in front; LINK: to the one before it. */
static int dump_before(struct keeper *k, char *pid, unsigned int n, char *link)
{
	char *dir = test_text("%s/img%d.%u", k->r->dir, k->n_images, n);
	int status;

	if (n % 3)
		status = run(k, (char *[]){ (char *)k->r->ckpt, "pre-dump", "-t", pid, "-D", dir,
					    link ? "--prev-images-dir" : NULL, link, NULL });
	else
		status = keeper_ckpt(k, "dump",
				     (char *[]){ "-t", pid, "-D", dir, "--prev-images-dir", link,
						 "--track-mem", "-R", NULL });
	free(dir);
	return status;
}

static int dump_chain(struct keeper *k, char *dir, char *pid, char *how)
{
	unsigned int rounds = story_chain(k->r->story);
	char *link = NULL;
	int status = 0;

	for (unsigned int n = 1; !status && n <= rounds; n++) {
		status = dump_before(k, pid, n, link);
		free(link);
		link = test_text("../img%d.%u", k->n_images, n);
		test_sleep_ms(BETWEEN_MS);
	}
	if (!status)
		status = keeper_ckpt(k, "dump",
				     (char *[]){ "-t", pid, "-D", dir, "--prev-images-dir", link,
						 how, NULL });
	free(link);
	/* Else nothing has been shown. */
	if (!status && k->r->story->chain && !test_exists("%s/parent", dir))
		status = -1;
	return status;
}

int keeper_dump(struct keeper *k, char *how)
{
	char pid[16], *dir;
	int status;

	snprintf(pid, sizeof(pid), "%d", k->root);
	k->n_images++;
	dir = keeper_image(k);
	if (k->r->inside)
		status = ask(k, dir, pid, how != NULL);
	else if (story_chain(k->r->story) && !k->r->story->refused[0])
		status = dump_chain(k, dir, pid, how);
	else
		status = keeper_ckpt(k, "dump", (char *[]){ "-t", pid, "-D", dir, how, NULL });
	free(dir);
	return status;
}
