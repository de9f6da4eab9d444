// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.jspecify.annotations.Nullable;

/**
 * Layout of a C struct, written down field by field in the order of the header. Each method adds a field with its natural alignment
 * and returns its offset. Every struct is compared with what the library was compiled to ({@code gatun_abi_describe}).
 */
final class Struct {
    private static final List<Struct> ALL = new CopyOnWriteArrayList<>();
    private static final int LAYOUT_BYTES = 8 + 16 * Layout.MAX_RANK;

    private final String name;
    private final List<String> fields = new ArrayList<>();
    private long end;
    private long alignment = 4;
    private long size;

    Struct(String name) {
        this.name = name;
        ALL.add(this);
    }

    /** A descriptor: its first field is {@code struct_size}. */
    static Struct descriptor(String name) {
        Struct struct = new Struct(name);
        struct.u32("struct_size");
        return struct;
    }

    static List<Struct> all() {
        return ALL;
    }

    long u32(String field) {
        return add(field, "u32", 4, 4);
    }

    long i32(String field) {
        return add(field, "i32", 4, 4);
    }

    long f32(String field) {
        return add(field, "f32", 4, 4);
    }

    long i64(String field) {
        return add(field, "i64", 8, 8);
    }

    long u64(String field) {
        return add(field, "u64", 8, 8);
    }

    long f64(String field) {
        return add(field, "f64", 8, 8);
    }

    long layout(String field) {
        return add(field, "layout", LAYOUT_BYTES, 8);
    }

    private long add(String field, String type, int bytes, int alignment) {
        long offset = round(end, alignment);
        fields.add(field + ":" + offset + ":" + type);
        end = offset + bytes;
        this.alignment = Math.max(this.alignment, alignment);
        size = round(end, this.alignment);
        return offset;
    }

    String name() {
        return name;
    }

    /** The name of the field at an offset. */
    String field(long offset) {
        String place = ":" + offset + ":";
        return fields.stream().filter(f -> f.contains(place)).map(f -> f.substring(0, f.indexOf(':'))).findFirst().orElseThrow();
    }

    long size() {
        return size;
    }

    private static long round(long bytes, long to) {
        return (bytes + to - 1) / to * to;
    }

    /** The line that the library's description has for this struct. */
    String describe() {
        return "struct " + name + " " + size() + " " + String.join(" ", fields);
    }

    /** Writes a layout; null: of an operand that is absent. */
    static void putLayout(MemorySegment struct, long offset, @Nullable Layout layout) {
        int rank = layout == null ? 0 : layout.rank();
        struct.set(ValueLayout.JAVA_INT, offset, layout == null ? 0 : layout.dtype().code());
        struct.set(ValueLayout.JAVA_INT, offset + 4, rank);
        long shape = offset + 8;
        long strides = shape + 8L * Layout.MAX_RANK;
        for (int i = 0; i < Layout.MAX_RANK; i++) {
            struct.set(ValueLayout.JAVA_LONG, shape + 8L * i, i < rank ? layout.size(i) : 0);
            struct.set(ValueLayout.JAVA_LONG, strides + 8L * i, i < rank ? layout.stride(i) : 0);
        }
    }
}
