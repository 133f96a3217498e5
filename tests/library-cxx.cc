// SPDX-License-Identifier: MIT
/* The library from C++: a buffer is made, or the exit status is 1. */
#include <dmabufx.h>

int main()
{
	struct dmabufx_request request = {};
	int device = dmabufx_open();
	int memfd = dmabufx_memfd("c++", 4096, 0);
	int dmabuf = dmabufx_create_memfd(device, memfd, 0, 0, &request);
	struct dmabufx_query query;

	return dmabuf < 0 || dmabufx_query(device, &query) < 0;
}
