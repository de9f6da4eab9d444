// SPDX-License-Identifier: Apache-2.0
package dev.gatun.primitives;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * Layout of a C struct, written down field by field in the order of the header. Each method adds a field with its natural alignment
 * and returns its offset. Every struct is compared with what the library was compiled to ({@code gatun_abi_describe}).
 */
final class Struct {
    private static final List<Struct> ALL = new CopyOnWriteArrayList<>();
    private static final int LAYOUT_BYTES = 8 + 16 * Layout.MAX_RANK;

    private final String name;
    private final List<String> fields = new ArrayList<>();
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
        long offset = (size + alignment - 1) / alignment * alignment;
        fields.add(field + ":" + offset + ":" + type);
        size = offset + bytes;
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
        boolean wide = fields.stream().anyMatch(f -> f.endsWith("64") || f.endsWith("layout"));
        long alignment = wide ? 8 : 4;
        return (size + alignment - 1) / alignment * alignment;
    }

    /** The line that the library's description has for this struct. */
    String describe() {
        return "struct " + name + " " + size() + " " + String.join(" ", fields);
    }

    static void putLayout(MemorySegment struct, long offset, Layout layout) {
        struct.set(ValueLayout.JAVA_INT, offset, layout.dtype().code());
        struct.set(ValueLayout.JAVA_INT, offset + 4, layout.rank());
        for (int i = 0; i < layout.rank(); i++) {
            struct.set(ValueLayout.JAVA_LONG, offset + 8 + 8L * i, layout.size(i));
            struct.set(ValueLayout.JAVA_LONG, offset + 8 + 8L * (Layout.MAX_RANK + i), layout.stride(i));
        }
    }
}
