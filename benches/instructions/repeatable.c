// Replaces the parts of the C library that make the number of instructions depend on chance. `.ci/instructions.py`
// loads this library into the programs whose instructions it counts. The programs have one thread.

#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

// The keys of hash maps are the same in each run. They determine the order of the headers in surf.
ssize_t getrandom(void *bytes, size_t length, unsigned flags) {
    memset(bytes, 0, length);
    return length;
}

// The C library's allocator splits and merges blocks, so the cost of an allocation depends on all earlier ones, and the
// count of a request differs by 1 % after an unrelated change. With this allocator, the cost depends only on the size.

// Precedes each allocation, which is in a block of 2^exponent bytes.
struct header {
    char *block;
    size_t exponent;
};

static char heap[1 << 28];
static size_t used;
// A free block begins with the address of the next free block of the same size.
static char *free_blocks[64];

static void *allocate(size_t alignment, size_t size) {
    size_t exponent = 64 - __builtin_clzl(size + alignment + sizeof(struct header));
    char *block = free_blocks[exponent];
    if (block) {
        free_blocks[exponent] = *(char **)block;
    } else {
        block = heap + used;
        used += (size_t)1 << exponent;
        if (used > sizeof heap) abort();
    }
    size_t start = ((size_t)block + sizeof(struct header) + alignment - 1) & -alignment;
    ((struct header *)start)[-1] = (struct header){block, exponent};
    return (void *)start;
}

void *malloc(size_t size) { return allocate(16, size); }

void *calloc(size_t count, size_t size) { return memset(malloc(count * size), 0, count * size); }

void *aligned_alloc(size_t alignment, size_t size) { return allocate(alignment < 16 ? 16 : alignment, size); }

void *memalign(size_t alignment, size_t size) { return aligned_alloc(alignment, size); }

int posix_memalign(void **result, size_t alignment, size_t size) {
    *result = aligned_alloc(alignment, size);
    return 0;
}

void free(void *allocation) {
    if (!allocation) return;
    struct header header = ((struct header *)allocation)[-1];
    *(char **)header.block = free_blocks[header.exponent];
    free_blocks[header.exponent] = header.block;
}

void *realloc(void *allocation, size_t size) {
    if (!allocation) return malloc(size);
    struct header header = ((struct header *)allocation)[-1];
    size_t room = header.block + ((size_t)1 << header.exponent) - (char *)allocation;
    if (size <= room) return allocation;
    void *larger = malloc(size);
    memcpy(larger, allocation, room);
    free(allocation);
    return larger;
}
