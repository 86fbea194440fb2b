/* SPDX-License-Identifier: Apache-2.0 */
/* The help, made from the tables of commands and options. */
#include <stdio.h>
#include <string.h>
#include "tools/ckpt.h"

void ckpt_help_general(void)
{
	printf("ckpt freezes running processes into an image and brings them back later.\n\n");
	for (const struct ckpt_command *c = ckpt_commands; c->name; c++)
		printf("  ckpt %-8s %s\n", c->name, c->summary);
	printf("\n  ckpt help COMMAND    the options of a command\n"
	       "  ckpt help options    every option of CRIU and what becomes of it here\n"
	       "  ckpt --version\n\n"
	       "Exit status: 0 done, 1 failed, 2 usage, 3 not supported; restore without -d: that of the program.\n");
}

/* "-t, --tree PID" */
static const char *spelling(const struct ckpt_option *p, char *buf, size_t size)
{
	char letter[8] = "    ";
	const char *value = p->value ? p->value : "";

	if (p->letter)
		snprintf(letter, sizeof(letter), "-%c, ", p->letter);
	if (p->optional)
		snprintf(buf, size, "%s--%s[=%s]", letter, p->name, value);
	else
		snprintf(buf, size, "%s--%s%s%s", letter, p->name, p->value ? " " : "", value);
	return buf;
}

static void list_of(enum ckpt_option_fate fate, const char *title)
{
	size_t column = 0;

	printf("\n%s\n", title);
	for (const struct ckpt_option *p = ckpt_option_table; p->name; p++) {
		if (p->fate != fate && !(p->fate == CKPT_NOTED && fate == CKPT_HARMLESS))
			continue;
		if (column + strlen(p->name) + 3 > 96) {
			printf("\n");
			column = 0;
		}
		column += printf("%s--%s", column ? " " : "  ", p->name);
	}
	printf("\n");
}

void ckpt_help_command(const struct ckpt_command *cmd)
{
	char buf[64];

	printf("ckpt %s %s\n%s\n\n", cmd->name, cmd->usage, cmd->summary);
	for (const struct ckpt_option *p = ckpt_option_table; p->name; p++)
		if (p->fate == CKPT_WORKS && (p->in & cmd->bit))
			printf("  %-30s %s\n", spelling(p, buf, sizeof(buf)), p->text);
	printf("\nAn option without a value is undone by --no-NAME.\n");
	if (!(cmd->bit & CKPT_CMD_CRIU))
		return;
	list_of(CKPT_HARMLESS, "Accepted, since they change nothing here:");
	list_of(CKPT_REFUSED, "Refused by name (exit status 3):");
	printf("\nThe reasons: ckpt help options\n");
}

void ckpt_help_options(void)
{
	static const char *const fate[] = { "works", "harmless", "noted", "refused" };
	char buf[64];

	for (const struct ckpt_option *p = ckpt_option_table; p->name; p++)
		printf("%s\t%s\t%s\n", spelling(p, buf, sizeof(buf)), fate[p->fate], p->text);
}
