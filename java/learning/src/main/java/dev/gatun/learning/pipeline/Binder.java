// SPDX-License-Identifier: Apache-2.0
package dev.gatun.learning.pipeline;

import dev.gatun.learning.LearningException;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Binds mappings of a pipeline file to records and back. A component {@code weightDecay} is the key {@code weight_decay}.
 * An absent key takes the component's value from the record's constructor without parameters; without such a constructor a
 * reference becomes null and an absent primitive is an error. Every error is one line: file, key path, what is wrong.
 */
final class Binder {
    private final String file;

    /** @param file how errors name the source */
    Binder(String file) {
        this.file = file;
    }

    LearningException error(String path, String what) {
        return new LearningException(file + ": " + (path.isEmpty() ? "" : path + ": ") + what);
    }

    LearningException unknownKey(String path, Collection<String> known) {
        return error(path, "unknown key; known keys: " + String.join(", ", known));
    }

    /** The keys a record binds, in its order. */
    static Set<String> keys(Class<? extends Record> type) {
        Set<String> keys = new LinkedHashSet<>();
        for (RecordComponent component : type.getRecordComponents()) {
            keys.add(key(component));
        }
        return keys;
    }

    /** Fails on the first key of {@code values} that is not in {@code known}. */
    void requireKnown(Map<String, Object> values, Collection<String> known, String path) {
        for (String key : values.keySet()) {
            if (!known.contains(key)) {
                throw unknownKey(join(path, key), known);
            }
        }
    }

    /**
     * Binds the keys that belong to {@code type}; other keys are left alone, {@link #requireKnown} judges them.
     *
     * @return an instance of {@code type}
     */
    <R extends Record> R bind(Class<R> type, Map<String, Object> values, String path) {
        RecordComponent[] components = type.getRecordComponents();
        Object[] arguments = new Object[components.length];
        Class<?>[] types = new Class<?>[components.length];
        Record defaults = defaults(type);
        for (int i = 0; i < components.length; i++) {
            RecordComponent component = components[i];
            types[i] = component.getType();
            String key = key(component);
            Object value = values.get(key);
            if (value != null) {
                arguments[i] = convert(component.getGenericType(), value, join(path, key));
            } else if (defaults != null) {
                arguments[i] = read(component, defaults);
            } else if (types[i].isPrimitive()) {
                throw error(join(path, key), "missing; it has no default");
            }
        }
        try {
            Constructor<R> constructor = type.getDeclaredConstructor(types);
            constructor.trySetAccessible();
            return constructor.newInstance(arguments);
        } catch (InvocationTargetException e) {
            // the record's own check of its values, or of several of them together
            throw error(path, String.valueOf(e.getCause().getMessage()));
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException("settings record " + type.getName() + " is not accessible", e);
        }
    }

    /** The inverse of {@link #bind}: keys to plain values (numbers, strings, booleans, lists, mappings), nulls left out. */
    static Map<String, Object> unbind(Record settings) {
        Map<String, Object> values = new LinkedHashMap<>();
        for (RecordComponent component : settings.getClass().getRecordComponents()) {
            Object value = read(component, settings);
            if (value != null) {
                values.put(key(component), plain(value));
            }
        }
        return values;
    }

    private static Object plain(Object value) {
        return switch (value) {
            case Record nested -> unbind(nested);
            case List<?> list -> list.stream().map(Binder::plain).toList();
            case Enum<?> constant -> constant.name().toLowerCase(Locale.ROOT);
            // through the shortest decimal that reads back as the same number
            case Float number when Float.isFinite(number) -> new BigDecimal(Float.toString(number));
            case Double number when Double.isFinite(number) -> new BigDecimal(Double.toString(number));
            case int[] numbers -> Arrays.stream(numbers).boxed().toList();
            case long[] numbers -> Arrays.stream(numbers).boxed().toList();
            case Number number -> number;
            case Boolean flag -> flag;
            default -> value.toString();
        };
    }

    private Object convert(Type type, @Nullable Object value, String path) {
        if (value == null) {
            throw error(path, "empty; expected a value");
        }
        if (type instanceof ParameterizedType generic && generic.getRawType() == List.class) {
            if (!(value instanceof List<?> list)) {
                throw expected("a list", value, path);
            }
            List<Object> converted = new ArrayList<>();
            for (Object element : list) {
                converted.add(convert(generic.getActualTypeArguments()[0], element, join(path, "" + converted.size())));
            }
            return List.copyOf(converted);
        }
        if (!(type instanceof Class<?> target)) {
            throw new IllegalStateException("a settings record cannot hold " + type);
        }
        if (target.isRecord()) {
            Map<String, Object> nested = mapping(value, path);
            Class<? extends Record> record = target.asSubclass(Record.class);
            requireKnown(nested, keys(record), path);
            return bind(record, nested, path);
        }
        if (target == int.class || target == Integer.class) {
            long number = integer(value, path);
            if (number != (int) number) {
                throw expected("an integer of at most 31 bits", value, path);
            }
            return (int) number;
        }
        if (target == long.class || target == Long.class) {
            return integer(value, path);
        }
        if (target == float.class || target == Float.class) {
            return (float) number(value, path);
        }
        if (target == double.class || target == Double.class) {
            return number(value, path);
        }
        if (target == boolean.class || target == Boolean.class) {
            String text = value.toString();
            if (text.equals("true") || text.equals("false")) {
                return text.equals("true");
            }
            throw expected("true or false", value, path);
        }
        if (target.isEnum()) {
            List<String> names = new ArrayList<>();
            for (Object constant : target.getEnumConstants()) {
                String name = ((Enum<?>) constant).name().toLowerCase(Locale.ROOT);
                if (name.equals(value.toString())) {
                    return constant;
                }
                names.add(name);
            }
            throw expected("one of " + String.join(", ", names), value, path);
        }
        if (target == String.class) {
            if (value instanceof Map || value instanceof List) {
                throw expected("a text", value, path);
            }
            return value.toString();
        }
        throw new IllegalStateException("a settings record cannot hold " + target);
    }

    private long integer(Object value, String path) {
        try {
            return new BigDecimal(value.toString()).longValueExact();
        } catch (ArithmeticException | NumberFormatException e) {
            throw expected("an integer", value, path);
        }
    }

    private double number(Object value, String path) {
        try {
            // YAML readers disagree on whether 1e-3 is a number or a text: both are taken
            double number = Double.parseDouble(value.toString());
            if (Double.isFinite(number)) {
                return number;
            }
        } catch (NumberFormatException e) {
            // reported below, as are nan and inf
        }
        throw expected("a finite number", value, path);
    }

    @SuppressWarnings("unchecked") // the YAML reader makes text keys only
    Map<String, Object> mapping(@Nullable Object value, String path) {
        if (value == null) {
            return Map.of();
        }
        if (value instanceof Map<?, ?> map) {
            return (Map<String, Object>) map;
        }
        throw expected("a mapping of keys to values", value, path);
    }

    private LearningException expected(String what, Object value, String path) {
        String shown = value.toString();
        return error(path, "expected " + what + ", got " + (shown.length() > 60 ? shown.substring(0, 57) + "..." : shown));
    }

    private static @Nullable Record defaults(Class<? extends Record> type) {
        if (type.getRecordComponents().length == 0) {
            return null;
        }
        try {
            Constructor<? extends Record> constructor = type.getDeclaredConstructor();
            constructor.trySetAccessible();
            return constructor.newInstance();
        } catch (NoSuchMethodException e) {
            return null;
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException("the defaults of " + type.getName() + " cannot be made", e);
        }
    }

    private static @Nullable Object read(RecordComponent component, Record record) {
        try {
            Method accessor = component.getAccessor();
            accessor.trySetAccessible();
            return accessor.invoke(record);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException("settings record " + record.getClass().getName() + " is not accessible", e);
        }
    }

    static String join(String path, String key) {
        return path.isEmpty() ? key : path + "." + key;
    }

    private static String key(RecordComponent component) {
        String name = component.getName();
        StringBuilder key = new StringBuilder();
        for (int i = 0; i < name.length(); i++) {
            char c = name.charAt(i);
            if (Character.isUpperCase(c)) {
                key.append('_');
            }
            key.append(Character.toLowerCase(c));
        }
        return key.toString();
    }
}
