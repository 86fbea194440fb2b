/* SPDX-License-Identifier: Apache-2.0 */
/* Packet sockets: what they hear of the loopback device. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define OWN 0x88b5 /* IEEE 802: for local experiments */

static int ear, group[2], deaf;

static int new_socket(int type, int protocol, const char *device)
{
	int fd = CHECK_CALL(socket(AF_PACKET, type, 0));
	struct sockaddr_ll a = { .sll_family = AF_PACKET,
				 .sll_protocol = htons(protocol),
				 .sll_ifindex = device ? if_nametoindex(device) : 0 };

	CHECK_CALL(bind(fd, (void *)&a, sizeof(a)));
	return fd;
}

static void set(int fd, int option, int value)
{
	CHECK_CALL(setsockopt(fd, SOL_PACKET, option, &value, sizeof(value)));
}

static void setup(void)
{
	/* Only frames whose first byte behind the header is 'y'. */
	struct sock_filter code[] = { { BPF_LD | BPF_B | BPF_ABS, 0, 0, ETH_HLEN },
				      { BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 'y' },
				      { BPF_RET | BPF_K, 0, 0, 200 },
				      { BPF_RET | BPF_K, 0, 0, 0 } };
	struct sock_fprog filter = { 4, code };
	struct packet_mreq all = { .mr_ifindex = if_nametoindex("lo"),
				   .mr_type = PACKET_MR_PROMISC };

	ear = new_socket(SOCK_RAW, OWN, "lo");
	CHECK_CALL(setsockopt(ear, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)));
	CHECK_CALL(setsockopt(ear, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)));
	set(ear, PACKET_AUXDATA, 1);
	set(ear, PACKET_IGNORE_OUTGOING, 1);
	set(ear, PACKET_VERSION, TPACKET_V2);
	for (int i = 0; i < 2; i++) {
		group[i] = new_socket(SOCK_DGRAM, OWN + 1, NULL);
		set(group[i], PACKET_FANOUT, (getpid() & 0xffff) | PACKET_FANOUT_LB << 16);
	}
	deaf = CHECK_CALL(socket(AF_PACKET, SOCK_DGRAM, 0));
}

static void check(void)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET,
				 .sll_protocol = htons(OWN),
				 .sll_ifindex = if_nametoindex("lo"),
				 .sll_halen = ETH_ALEN };
	char buf[100];

	CHECK(sendto(deaf, "no", 2, 0, (void *)&a, sizeof(a)) == 2);
	CHECK(sendto(deaf, "yes", 3, 0, (void *)&a, sizeof(a)) == 3);
	CHECK(recv(ear, buf, sizeof(buf), 0) == ETH_HLEN + 3);
	CHECK(!memcmp(buf + ETH_HLEN, "yes", 3));
	CHECK(recv(ear, buf, sizeof(buf), MSG_DONTWAIT) < 0 && errno == EAGAIN);
	CHECK(recv(deaf, buf, sizeof(buf), MSG_DONTWAIT) < 0 && errno == EAGAIN);
	a.sll_protocol = htons(OWN + 1);
	for (int i = 0; i < 4; i++)
		CHECK(sendto(deaf, "f", 1, 0, (void *)&a, sizeof(a)) == 1);
	for (int i = 0, n = 0; n < 4; i = !i)
		n += recv(group[i], buf, sizeof(buf), MSG_DONTWAIT) == 1;
}

static void setup_ring(void)
{
	struct tpacket_req ring = { 4096, 4, 2048, 8 };

	ear = new_socket(SOCK_RAW, OWN, "lo");
	CHECK_CALL(setsockopt(ear, SOL_PACKET, PACKET_RX_RING, &ring, sizeof(ring)));
}

CASES({ "packet sockets hear what they did", setup, check, CASE_ROOT },
      { "one with a ring is refused by name", setup_ring, NULL, CASE_ROOT,
	.refused = { "CKPT-E0201", "it has a ring" } })
