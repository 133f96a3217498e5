// SPDX-License-Identifier: MIT
/*
 * Vulkan reads and writes dma-bufs as buffers and images. Mesa's own drivers allocate
 * memory for others from /dev/udmabuf, when dmabufx serves it.
 */
#include <drm_fourcc.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vulkan/vulkan.h>

#define DEFAULT_TAGS TAG_CARDLESS

#include "buffer.h"
#include "canvas.h"
#include "harness.h"
#include "operations.h"

#define DMA_BUF VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT

static const char * const extensions[] = {
	VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME,
	VK_EXT_IMAGE_DRM_FORMAT_MODIFIER_EXTENSION_NAME,
	VK_EXT_QUEUE_FAMILY_FOREIGN_EXTENSION_NAME,
	VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME,
};

static VkInstance instance;
static VkPhysicalDevice gpu;
static VkDevice device;
static VkQueue queue;
static VkCommandPool pool;
static VkCommandBuffer commands;

#define good(call)							\
	do {								\
		VkResult result_ = (call);				\
									\
		if (result_ != VK_SUCCESS)				\
			fail("%s: VkResult %d", #call, result_);	\
	} while (0)

static void note_driver(void)
{
	VkPhysicalDeviceDriverProperties driver = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES,
	};
	VkPhysicalDeviceProperties2 properties = {
		.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
		.pNext = &driver,
	};

	vkGetPhysicalDeviceProperties2(gpu, &properties);
	note("%s, %s", properties.properties.deviceName, driver.driverInfo);
}

static void make_device(void)
{
	const VkDeviceQueueCreateInfo queue_info = {
		.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
		.queueCount = 1,
		.pQueuePriorities = (float[]){ 1.0f },
	};
	const VkDeviceCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
		.queueCreateInfoCount = 1,
		.pQueueCreateInfos = &queue_info,
		.enabledExtensionCount = ARRAY_SIZE(extensions),
		.ppEnabledExtensionNames = extensions,
	};

	good(vkCreateDevice(gpu, &info, NULL, &device));
	vkGetDeviceQueue(device, 0, 0, &queue);
}

/* Uses the first device; VK_DRIVER_FILES chooses the driver. */
static void start(void)
{
	const VkApplicationInfo application = {
		.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
		.apiVersion = VK_API_VERSION_1_1,
	};
	const VkInstanceCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
		.pApplicationInfo = &application,
	};
	const VkCommandPoolCreateInfo pool_info = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
		.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
	};
	VkCommandBufferAllocateInfo commands_info = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
		.commandBufferCount = 1,
	};
	uint32_t count = 1;

	good(vkCreateInstance(&info, NULL, &instance));
	vkEnumeratePhysicalDevices(instance, &count, &gpu);
	if (!count)
		skip("no Vulkan device");
	note_driver();
	make_device();
	good(vkCreateCommandPool(device, &pool_info, NULL, &pool));
	commands_info.commandPool = pool;
	good(vkAllocateCommandBuffers(device, &commands_info, &commands));
}

static void stop(void)
{
	vkDestroyCommandPool(device, pool, NULL);
	vkDestroyDevice(device, NULL);
	vkDestroyInstance(instance, NULL);
}

static void begin(void)
{
	const VkCommandBufferBeginInfo info = {
		.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
	};

	good(vkBeginCommandBuffer(commands, &info));
}

/* Executes the recorded commands, and waits for their end. */
static void run(void)
{
	const VkSubmitInfo submit = {
		.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
		.commandBufferCount = 1,
		.pCommandBuffers = &commands,
	};

	good(vkEndCommandBuffer(commands));
	good(vkQueueSubmit(queue, 1, &submit, VK_NULL_HANDLE));
	good(vkQueueWaitIdle(queue));
}

/* Imports the dma-buf as memory for objects that need one of @types. */
static VkDeviceMemory import(int dma_buf, size_t size, uint32_t types)
{
	PFN_vkGetMemoryFdPropertiesKHR get_properties = (void *)
		vkGetDeviceProcAddr(device, "vkGetMemoryFdPropertiesKHR");
	VkMemoryFdPropertiesKHR properties = {
		.sType = VK_STRUCTURE_TYPE_MEMORY_FD_PROPERTIES_KHR,
	};
	VkImportMemoryFdInfoKHR import_info = {
		.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR,
		.handleType = DMA_BUF,
	};
	VkMemoryAllocateInfo info = {
		.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
		.pNext = &import_info,
		.allocationSize = size,
	};
	VkDeviceMemory memory;

	good(get_properties(device, DMA_BUF, dma_buf, &properties));
	check(types & properties.memoryTypeBits);
	info.memoryTypeIndex =
		__builtin_ctz(types & properties.memoryTypeBits);
	import_info.fd = must(fcntl(dma_buf, F_DUPFD_CLOEXEC, 0));
	good(vkAllocateMemory(device, &info, NULL, &memory));
	return memory;
}

static VkBuffer make_buffer(size_t size, uint32_t *types)
{
	const VkExternalMemoryBufferCreateInfo external = {
		.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO,
		.handleTypes = DMA_BUF,
	};
	const VkBufferCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
		.pNext = &external,
		.size = size,
		.usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
			 VK_BUFFER_USAGE_TRANSFER_DST_BIT,
	};
	VkMemoryRequirements needs;
	VkBuffer buffer;

	good(vkCreateBuffer(device, &info, NULL, &buffer));
	vkGetBufferMemoryRequirements(device, buffer, &needs);
	*types = needs.memoryTypeBits;
	return buffer;
}

/* Imports all of the canvas as a buffer. */
static VkBuffer import_buffer(const struct canvas *canvas,
			      VkDeviceMemory *memory)
{
	uint32_t types;
	VkBuffer buffer = make_buffer(canvas->size, &types);

	*memory = import(canvas->fd, canvas->size, types);
	good(vkBindBufferMemory(device, buffer, *memory, 0));
	return buffer;
}

static void copy_bytes(VkBuffer from, size_t from_offset, VkBuffer to,
		       size_t to_offset, size_t size)
{
	const VkBufferCopy region = {
		.srcOffset = from_offset,
		.dstOffset = to_offset,
		.size = size,
	};

	begin();
	vkCmdCopyBuffer(commands, from, to, 1, &region);
	run();
}

/* Copies a picture of the CPU to another place in the target. */
static void copy_through_buffers(struct canvas *from, struct canvas *to)
{
	const size_t from_offset = 3 * PAGE + 64, to_offset = 256;
	const size_t size = from->size - 5 * PAGE - 4;
	VkDeviceMemory from_memory, to_memory;
	VkBuffer from_buffer, to_buffer;
	unsigned int pass;

	operations_watch();
	from_buffer = import_buffer(from, &from_memory);
	to_buffer = import_buffer(to, &to_memory);
	for (pass = 1; pass <= 2; pass++) {
		pattern_fill(from->want, pass, from->mem.id, 0, from->size);
		canvas_put(from);
		copy_bytes(from_buffer, from_offset, to_buffer, to_offset,
			   size);
		memcpy(to->want + to_offset, from->want + from_offset, size);
		canvas_check(to, "copying a buffer");
		canvas_check(from, "copying from a buffer");
	}
	operations_check(from->fd, "begin_cpu_access end_cpu_access mmap fault");
	operations_check(to->fd, "begin_cpu_access end_cpu_access mmap fault");
	vkDestroyBuffer(device, from_buffer, NULL);
	vkDestroyBuffer(device, to_buffer, NULL);
	vkFreeMemory(device, from_memory, NULL);
	vkFreeMemory(device, to_memory, NULL);
}

static void copy_from_canvas(struct canvas *from)
{
	struct canvas to = canvas_make(SHMEM_4K, SHUFFLED, from->size);

	copy_through_buffers(from, &to);
	copy_through_buffers(&to, from);
	canvas_free(&to);
}

PROMISE(vulkan_copies_buffers,
	"dma-bufs of any memory work as buffers, at odd offsets")
{
	start();
	with_every_canvas(KIB(300), copy_from_canvas);
	stop();
}

static VkImage make_image(const struct image *image, uint32_t *types)
{
	const VkSubresourceLayout plane = {
		.offset = image->offset,
		.rowPitch = image->stride,
	};
	const VkImageDrmFormatModifierExplicitCreateInfoEXT modifier = {
		.sType = VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_EXPLICIT_CREATE_INFO_EXT,
		.drmFormatModifier = DRM_FORMAT_MOD_LINEAR,
		.drmFormatModifierPlaneCount = 1,
		.pPlaneLayouts = &plane,
	};
	const VkExternalMemoryImageCreateInfo external = {
		.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO,
		.pNext = &modifier,
		.handleTypes = DMA_BUF,
	};
	const VkImageCreateInfo info = {
		.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
		.pNext = &external,
		.imageType = VK_IMAGE_TYPE_2D,
		.format = VK_FORMAT_R8G8B8A8_UNORM,
		.extent = { image->width, image->height, 1 },
		.mipLevels = 1,
		.arrayLayers = 1,
		.samples = VK_SAMPLE_COUNT_1_BIT,
		.tiling = VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT,
		.usage = VK_IMAGE_USAGE_TRANSFER_SRC_BIT |
			 VK_IMAGE_USAGE_TRANSFER_DST_BIT,
	};
	VkMemoryRequirements needs;
	VkImage made;

	good(vkCreateImage(device, &info, NULL, &made));
	vkGetImageMemoryRequirements(device, made, &needs);
	*types = needs.memoryTypeBits;
	return made;
}

static VkImage import_image(const struct canvas *canvas,
			    const struct image *image, VkDeviceMemory *memory)
{
	uint32_t types;
	VkImage made = make_image(image, &types);

	*memory = import(canvas->fd, canvas->size, types);
	good(vkBindImageMemory(device, made, *memory, 0));
	return made;
}

/* Changes the owner of the image, and keeps its contents. */
static void hand_over(VkImage image, uint32_t from, uint32_t to)
{
	const VkImageMemoryBarrier barrier = {
		.sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER,
		.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT,
		.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT |
				 VK_ACCESS_MEMORY_WRITE_BIT,
		.oldLayout = VK_IMAGE_LAYOUT_GENERAL,
		.newLayout = VK_IMAGE_LAYOUT_GENERAL,
		.srcQueueFamilyIndex = from,
		.dstQueueFamilyIndex = to,
		.image = image,
		.subresourceRange = { VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1 },
	};

	vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
			     VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 0, NULL,
			     0, NULL, 1, &barrier);
}

static void copy_pixels(VkImage from, VkImage to, const struct image *size)
{
	const VkImageCopy region = {
		.srcSubresource = { VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1 },
		.dstSubresource = { VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1 },
		.extent = { size->width, size->height, 1 },
	};

	begin();
	hand_over(from, VK_QUEUE_FAMILY_FOREIGN_EXT, 0);
	hand_over(to, VK_QUEUE_FAMILY_FOREIGN_EXT, 0);
	vkCmdCopyImage(commands, from, VK_IMAGE_LAYOUT_GENERAL, to,
		       VK_IMAGE_LAYOUT_GENERAL, 1, &region);
	hand_over(from, 0, VK_QUEUE_FAMILY_FOREIGN_EXT);
	hand_over(to, 0, VK_QUEUE_FAMILY_FOREIGN_EXT);
	run();
}

static const struct image image_from = {
	.width = 317, .height = 203, .cpp = 4, .stride = 1280,
};

static const struct image image_to = {
	.width = 317, .height = 203, .cpp = 4, .stride = 1536,
	.offset = KIB(8) + 256,
};

static void copy_image_from_canvas(struct canvas *from)
{
	struct canvas to = canvas_make(SHMEM_4K, SHUFFLED, KIB(320));
	VkDeviceMemory from_memory, to_memory;
	VkImage from_vk, to_vk;
	unsigned int pass;

	operations_watch();
	from_vk = import_image(from, &image_from, &from_memory);
	to_vk = import_image(&to, &image_to, &to_memory);
	for (pass = 1; pass <= 2; pass++) {
		image_draw(from, &image_from, pass);
		canvas_put(from);
		copy_pixels(from_vk, to_vk, &image_from);
		image_draw(&to, &image_to, pass);
		canvas_check(&to, "copying an image");
		canvas_check(from, "copying from an image");
	}
	operations_check(from->fd, "begin_cpu_access end_cpu_access mmap fault");
	operations_check(to.fd, "begin_cpu_access end_cpu_access mmap fault");
	vkDestroyImage(device, from_vk, NULL);
	vkDestroyImage(device, to_vk, NULL);
	vkFreeMemory(device, from_memory, NULL);
	vkFreeMemory(device, to_memory, NULL);
	canvas_free(&to);
}

PROMISE(vulkan_copies_images,
	"dma-bufs of any memory work as linear images, with offset and padded rows")
{
	start();
	with_every_canvas(KIB(256), copy_image_from_canvas);
	stop();
}

/* Makes the driver allocate memory for others; @dma_buf is the memory's dma-buf. */
static VkDeviceMemory allocate(size_t size, uint32_t types, int *dma_buf)
{
	PFN_vkGetMemoryFdKHR get_fd = (void *)
		vkGetDeviceProcAddr(device, "vkGetMemoryFdKHR");
	const VkExportMemoryAllocateInfo export = {
		.sType = VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO,
		.handleTypes = DMA_BUF,
	};
	const VkMemoryAllocateInfo info = {
		.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
		.pNext = &export,
		.allocationSize = size,
		.memoryTypeIndex = __builtin_ctz(types),
	};
	VkMemoryGetFdInfoKHR get = {
		.sType = VK_STRUCTURE_TYPE_MEMORY_GET_FD_INFO_KHR,
		.handleType = DMA_BUF,
	};

	good(vkAllocateMemory(device, &info, NULL, &get.memory));
	good(get_fd(device, &get, dma_buf));
	return get.memory;
}

PROMISE(allocator_lavapipe,
	"memory that lavapipe exports is dmabufx's, and both sides see the same data")
{
	struct canvas canvas = canvas_make(SHMEM_4K, SHUFFLED, KIB(300));
	VkDeviceMemory memory, canvas_memory;
	VkBuffer buffer, canvas_buffer;
	unsigned int pass;
	uint32_t types;
	int dma_buf;
	char *map;

	if (access("/dev/udmabuf", R_OK | W_OK))
		skip("nobody serves /dev/udmabuf");
	operations_watch();
	start();
	buffer = make_buffer(canvas.size, &types);
	memory = allocate(canvas.size, types, &dma_buf);
	good(vkBindBufferMemory(device, buffer, memory, 0));
	check_eq(operations_count(dma_buf, "create"), 1);

	canvas_buffer = import_buffer(&canvas, &canvas_memory);
	map = map_dma_buf(dma_buf, 0, canvas.size);
	for (pass = 1; pass <= 2; pass++) {
		/* Lavapipe writes, and our mapping of its dma-buf shows it ... */
		pattern_fill(canvas.want, pass, canvas.mem.id, 0, canvas.size);
		canvas_put(&canvas);
		copy_bytes(canvas_buffer, 0, buffer, 0, canvas.size);
		pattern_check(map, pass, canvas.mem.id, 0, canvas.size,
			      "a mapping of lavapipe's memory");
		/* ... and Lavapipe reads what our mapping writes. */
		pattern_fill(map, pass + 2, canvas.mem.id, 0, canvas.size);
		copy_bytes(buffer, 0, canvas_buffer, 0, canvas.size);
		memcpy(canvas.want, map, canvas.size);
		canvas_check(&canvas, "lavapipe");
	}
	munmap(map, canvas.size);
	vkDestroyBuffer(device, buffer, NULL);
	vkDestroyBuffer(device, canvas_buffer, NULL);
	vkFreeMemory(device, memory, NULL);
	vkFreeMemory(device, canvas_memory, NULL);
	close(dma_buf);
	stop();
	canvas_free(&canvas);
}
