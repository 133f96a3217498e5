// SPDX-License-Identifier: MIT
/*
 * vulkan-import: Vulkan reads a picture from a memfd and writes to another memfd, without a copy.
 *
 * Shows   two memfds -> two dma-bufs -> two linear VkImages; the device draws the first mirrored
 *         into the second, and the CPU compares that pixel by pixel. Then another picture is
 *         written to the first memfd and drawn again, without a second import.
 * Needs   /dev/dmabufx (or --device /dev/udmabuf) and a Vulkan 1.1 driver with
 *         VK_EXT_external_memory_dma_buf and VK_EXT_image_drm_format_modifier, like Mesa's.
 *         No window system, and with lavapipe no GPU.
 * Run     vulkan-import [--device PATH] [--out DIR]
 *         VK_DRIVER_FILES=/usr/share/vulkan/icd.d/lvp_icd.json vulkan-import    uses lavapipe
 *         even if there is a GPU
 */
#include <err.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vulkan/vulkan.h>

#include "memfd-dmabuf.h"
#include "testcard.h"

#define WIDTH 640
#define HEIGHT 480
#define FORMAT VK_FORMAT_B8G8R8A8_UNORM		/* as pixels lie in a struct picture */
#define MODIFIER_LINEAR 0			/* DRM_FORMAT_MOD_LINEAR of drm_fourcc.h */

static const char * const extensions[] = {
	VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME,
	VK_EXT_IMAGE_DRM_FORMAT_MODIFIER_EXTENSION_NAME,
	VK_EXT_QUEUE_FAMILY_FOREIGN_EXTENSION_NAME,
	VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME,
};

#define NR_EXTENSIONS (sizeof(extensions) / sizeof(extensions[0]))

struct vulkan {
	VkInstance instance;
	VkPhysicalDevice gpu;
	VkDevice device;
	VkQueue queue;
	VkCommandPool pool;
};

struct image {
	VkImage image;
	VkDeviceMemory memory;
};

static void check(VkResult result, const char *what)
{
	if (result != VK_SUCCESS)
		errx(EXIT_FAILURE, "the driver does not %s: VkResult %d", what, result);
}

static bool has_extension(VkPhysicalDevice gpu, const char *name)
{
	VkExtensionProperties *properties;
	uint32_t count = 0, i;
	bool found = false;

	vkEnumerateDeviceExtensionProperties(gpu, NULL, &count, NULL);
	properties = calloc(count, sizeof(*properties));
	vkEnumerateDeviceExtensionProperties(gpu, NULL, &count, properties);
	for (i = 0; i < count && !found; i++)
		found = !strcmp(properties[i].extensionName, name);
	free(properties);
	return found;
}

/* Returns true if @gpu can import a dma-buf and its queue family 0 can draw. */
static bool is_fit(VkPhysicalDevice gpu)
{
	VkQueueFamilyProperties family;
	uint32_t count = 1, i;

	vkGetPhysicalDeviceQueueFamilyProperties(gpu, &count, &family);
	for (i = 0; i < NR_EXTENSIONS; i++)
		if (!has_extension(gpu, extensions[i]))
			return false;
	return count && family.queueFlags & VK_QUEUE_GRAPHICS_BIT;
}

/* Returns the first device that can do it. */
static VkPhysicalDevice choose_gpu(VkInstance instance)
{
	VkPhysicalDevice gpus[16];
	uint32_t count = 16, i;

	vkEnumeratePhysicalDevices(instance, &count, gpus);
	for (i = 0; i < count; i++)
		if (is_fit(gpus[i]))
			return gpus[i];
	errx(EXIT_FAILURE, "none of %u Vulkan devices imports dma-bufs\n"
	     "  Mesa's lavapipe does, without a GPU: apt install mesa-vulkan-drivers", count);
}

static void say_driver(VkPhysicalDevice gpu)
{
	VkPhysicalDeviceDriverProperties driver = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES,
	};
	VkPhysicalDeviceProperties2 properties = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
		.pNext = &driver,
	};

	vkGetPhysicalDeviceProperties2(gpu, &properties);
	printf("driver: %s, %s %s\n", properties.properties.deviceName, driver.driverName,
	       driver.driverInfo);
}

static struct vulkan start_vulkan(void)
{
	const VkApplicationInfo application = {
		.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
		.apiVersion = VK_API_VERSION_1_1,
	};
	const VkInstanceCreateInfo instance_info = {
		.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
		.pApplicationInfo = &application,
	};
	const VkDeviceQueueCreateInfo queue_info = {
		.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
		.queueCount = 1,
		.pQueuePriorities = (float[]){ 1.0f },
	};
	const VkDeviceCreateInfo device_info = {
		.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
		.queueCreateInfoCount = 1,
		.pQueueCreateInfos = &queue_info,
		.enabledExtensionCount = NR_EXTENSIONS,
		.ppEnabledExtensionNames = extensions,
	};
	const VkCommandPoolCreateInfo pool_info = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
	};
	struct vulkan vk;

	check(vkCreateInstance(&instance_info, NULL, &vk.instance), "start");
	vk.gpu = choose_gpu(vk.instance);
	say_driver(vk.gpu);
	check(vkCreateDevice(vk.gpu, &device_info, NULL, &vk.device), "make a device");
	vkGetDeviceQueue(vk.device, 0, 0, &vk.queue);
	check(vkCreateCommandPool(vk.device, &pool_info, NULL, &vk.pool), "make a command pool");
	return vk;
}

static void stop_vulkan(struct vulkan *vk)
{
	vkDestroyCommandPool(vk->device, vk->pool, NULL);
	vkDestroyDevice(vk->device, NULL);
	vkDestroyInstance(vk->instance, NULL);
}

/* Makes an image with the row layout of @layout, without memory yet. */
static VkImage create_image(const struct vulkan *vk, const struct picture *layout)
{
	const VkSubresourceLayout plane = { .offset = 0, .rowPitch = layout->stride };
	const VkImageDrmFormatModifierExplicitCreateInfoEXT modifier = {
		.sType = VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_EXPLICIT_CREATE_INFO_EXT,
		.drmFormatModifier = MODIFIER_LINEAR,
		.drmFormatModifierPlaneCount = 1,
		.pPlaneLayouts = &plane,
	};
	const VkExternalMemoryImageCreateInfo external = {
		.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO,
		.pNext = &modifier,
		.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT,
	};
	const VkImageCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
		.pNext = &external,
		.imageType = VK_IMAGE_TYPE_2D,
		.format = FORMAT,
		.extent = { layout->width, layout->height, 1 },
		.mipLevels = 1,
		.arrayLayers = 1,
		.samples = VK_SAMPLE_COUNT_1_BIT,
		.tiling = VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT,
		.usage = VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT,
	};
	VkImage image;

	check(vkCreateImage(vk->device, &info, NULL, &image), "make a linear image of that layout");
	return image;
}

/* Returns a memory type that suits both the image and the dma-buf. */
static uint32_t choose_memory_type(const struct vulkan *vk, VkImage image, int dmabuf)
{
	PFN_vkGetMemoryFdPropertiesKHR get_properties =
		(void *)vkGetDeviceProcAddr(vk->device, "vkGetMemoryFdPropertiesKHR");
	VkMemoryFdPropertiesKHR properties = {
		.sType = VK_STRUCTURE_TYPE_MEMORY_FD_PROPERTIES_KHR,
	};
	VkMemoryRequirements needs;
	uint32_t types;

	vkGetImageMemoryRequirements(vk->device, image, &needs);
	check(get_properties(vk->device, VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT, dmabuf,
			     &properties), "know the dma-buf");
	types = needs.memoryTypeBits & properties.memoryTypeBits;
	if (!types)
		errx(EXIT_FAILURE, "the device cannot use this dma-buf's memory for an image");
	return __builtin_ctz(types);
}

/* Vulkan takes over the descriptor that it imports, so pass a copy. */
static struct image import_dmabuf(const struct vulkan *vk, const struct memfd_dmabuf *buf,
				  const struct picture *layout)
{
	struct image image = { .image = create_image(vk, layout) };
	const VkMemoryDedicatedAllocateInfo dedicated = {
		.sType = VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO,
		.image = image.image,
	};
	const VkImportMemoryFdInfoKHR import = {
		.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR,
		.pNext = &dedicated,
		.handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT,
		.fd = fcntl(buf->dmabuf, F_DUPFD_CLOEXEC, 0),
	};
	const VkMemoryAllocateInfo info = {
		.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
		.pNext = &import,
		.allocationSize = buf->size,
		.memoryTypeIndex = choose_memory_type(vk, image.image, buf->dmabuf),
	};

	check(vkAllocateMemory(vk->device, &info, NULL, &image.memory), "import the dma-buf");
	check(vkBindImageMemory(vk->device, image.image, image.memory, 0),
	      "put the image into the dma-buf");
	return image;
}

static void destroy_image(const struct vulkan *vk, struct image *image)
{
	vkDestroyImage(vk->device, image->image, NULL);
	vkFreeMemory(vk->device, image->memory, NULL);
}

/*
 * Transfers the image from @from to @to: queue 0, or VK_QUEUE_FAMILY_FOREIGN_EXT, which stands
 * for the CPU and everybody else who shares the memory. Layout GENERAL preserves the contents.
 */
static void hand_over(VkCommandBuffer commands, VkImage image, uint32_t from, uint32_t to)
{
	const VkImageMemoryBarrier barrier = {
		.sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER,
		.srcAccessMask = from ? 0 : VK_ACCESS_MEMORY_WRITE_BIT,
		.dstAccessMask = to ? 0 : VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT,
		.oldLayout = VK_IMAGE_LAYOUT_GENERAL,
		.newLayout = VK_IMAGE_LAYOUT_GENERAL,
		.srcQueueFamilyIndex = from,
		.dstQueueFamilyIndex = to,
		.image = image,
		.subresourceRange = { VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1 },
	};

	vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
			     VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 0, NULL, 0, NULL, 1, &barrier);
}

/* Swaps left and right: source and destination regions run in opposite directions. */
static void draw_mirrored(VkCommandBuffer commands, VkImage from, VkImage to)
{
	const VkImageBlit region = {
		.srcSubresource = { VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1 },
		.srcOffsets = { { WIDTH, 0, 0 }, { 0, HEIGHT, 1 } },
		.dstSubresource = { VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1 },
		.dstOffsets = { { 0, 0, 0 }, { WIDTH, HEIGHT, 1 } },
	};

	vkCmdBlitImage(commands, from, VK_IMAGE_LAYOUT_GENERAL, to, VK_IMAGE_LAYOUT_GENERAL, 1,
		       &region, VK_FILTER_NEAREST);
}

/* Makes the device draw @from into @to, and waits until it is done. */
static void mirror_by_device(const struct vulkan *vk, VkImage from, VkImage to)
{
	const VkCommandBufferAllocateInfo info = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
		.commandPool = vk->pool,
		.commandBufferCount = 1,
	};
	const VkCommandBufferBeginInfo begin = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
	};
	VkCommandBuffer commands;
	const VkSubmitInfo submit = {
		.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
		.commandBufferCount = 1,
		.pCommandBuffers = &commands,
	};

	check(vkAllocateCommandBuffers(vk->device, &info, &commands), "make a command buffer");
	vkBeginCommandBuffer(commands, &begin);
	hand_over(commands, from, VK_QUEUE_FAMILY_FOREIGN_EXT, 0);
	hand_over(commands, to, VK_QUEUE_FAMILY_FOREIGN_EXT, 0);
	draw_mirrored(commands, from, to);
	hand_over(commands, from, 0, VK_QUEUE_FAMILY_FOREIGN_EXT);
	hand_over(commands, to, 0, VK_QUEUE_FAMILY_FOREIGN_EXT);
	check(vkEndCommandBuffer(commands), "take the commands");
	check(vkQueueSubmit(vk->queue, 1, &submit, VK_NULL_HANDLE), "draw");
	check(vkQueueWaitIdle(vk->queue), "end drawing");
	vkFreeCommandBuffers(vk->device, vk->pool, 1, &commands);
}

/* Returns the expected result for @pic. */
static struct picture mirror(const struct picture *pic)
{
	struct picture mirrored = picture_new(pic->width, pic->height);
	uint32_t x, y;

	for (y = 0; y < pic->height; y++)
		for (x = 0; x < pic->width; x++)
			picture_row(&mirrored, y)[x] = picture_row(pic, y)[pic->width - 1 - x];
	return mirrored;
}

/* Compares @buf with the mirrored card @letter; returns the number of wrong pixels. */
static size_t compare(const struct memfd_dmabuf *buf, const struct picture *card, char letter,
		      const char *out)
{
	struct picture want = mirror(card), got = picture_new(WIDTH, HEIGHT);
	char name[16];
	size_t wrong;

	memfd_dmabuf_read(buf, got.pixels, got.size);
	wrong = picture_compare((char[]){ letter, '\0' }, &got, &want);
	snprintf(name, sizeof(name), "vulkan-%c.ppm", letter);
	if (out)
		picture_save(&got, out, name);
	picture_free(&got);
	picture_free(&want);
	return wrong;
}

static void usage(FILE *to)
{
	fprintf(to,
		"Usage: vulkan-import [--device PATH] [--out DIR]\n"
		"Makes Vulkan draw from one memfd into another, mirrored, and compares every pixel.\n"
		"  --device PATH  driver that makes the dma-bufs (default " DEFAULT_DEVICE ")\n"
		"  --out DIR      save the drawn pictures there: vulkan-A.ppm, vulkan-B.ppm\n"
		"  --help         show this text\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "device", required_argument, NULL, 'd' },
		{ "out", required_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	const char *device = DEFAULT_DEVICE, *out = NULL, *letter;
	struct picture card = picture_new(WIDTH, HEIGHT);
	struct memfd_dmabuf from_buf, to_buf;
	struct image from, to;
	struct vulkan vk;
	size_t wrong = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'd':
			device = optarg;
			break;
		case 'o':
			out = optarg;
			break;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_FAILURE;
		}
	}
	setlinebuf(stdout);
	memfd_dmabuf_create(&from_buf, device, card.size);
	memfd_dmabuf_create(&to_buf, device, card.size);
	vk = start_vulkan();
	from = import_dmabuf(&vk, &from_buf, &card);
	to = import_dmabuf(&vk, &to_buf, &card);
	printf("imported: two images of %dx%d pixels of %s\n", WIDTH, HEIGHT, device);

	for (letter = "AB"; *letter; letter++) {
		picture_draw_card(&card, *letter);
		memfd_dmabuf_write(&from_buf, card.pixels, card.size);
		mirror_by_device(&vk, from.image, to.image);
		wrong += compare(&to_buf, &card, *letter, out);
	}

	destroy_image(&vk, &to);
	destroy_image(&vk, &from);
	stop_vulkan(&vk);
	memfd_dmabuf_destroy(&to_buf);
	memfd_dmabuf_destroy(&from_buf);
	picture_free(&card);
	return wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}
