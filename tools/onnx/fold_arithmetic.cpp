// Arithmetic of numbers that are known before anything runs: of shapes above all, where the batch
// size is a symbol N.
#include <algorithm>
#include <cmath>

#include "tools/onnx/ops.h"

namespace tapescope::onnx {
namespace {

[[noreturn]] void needs_batch() {
  throw usage_error(
      "it needs the batch size as a number; make it the first extent of a Reshape, or export with "
      "a "
      "fixed batch, which `predict --raw` runs as it is");
}

std::int64_t plain(Number x) {
  if (x.n != 0) needs_batch();
  return x.c;
}

bool same(Number a, Number b) {
  if (a.n == b.n) return a.c == b.c;
  const Number difference = {a.n - b.n, a.c - b.c};
  // n * N + c with N >= 1 is never 0 where both have one sign: N is not -1.
  if ((difference.n > 0 && difference.c >= 0) || (difference.n < 0 && difference.c <= 0))
    return false;
  needs_batch();
}

Number times(Number a, Number b) {
  if (a.n != 0 && b.n != 0) needs_batch();
  Number product;
  const bool overflow =
      __builtin_mul_overflow(a.n != 0 ? a.n : b.n, a.n != 0 ? b.c : a.c, &product.n) ||
      __builtin_mul_overflow(a.c, b.c, &product.c);
  if (overflow) throw usage_error("a product of whole numbers is too large");
  return product;
}

Number quotient(Number a, Number b) {
  const std::int64_t by = plain(b);
  if (by == 0) throw usage_error("a division of whole numbers by 0");
  if (by == -1) return {-a.n, static_cast<std::int64_t>(0 - static_cast<std::uint64_t>(a.c))};
  if (a.n == 0) return {0, a.c / by};
  if (a.n % by != 0 || a.c % by != 0) needs_batch();
  return {a.n / by, a.c / by};
}

std::int64_t sum(std::int64_t a, std::int64_t b) {  // wraps, as the format's whole numbers do
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}

std::int64_t power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 == 0 ? 1 : -1) : 0;
  std::uint64_t result = 1, factor = static_cast<std::uint64_t>(base);
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) result *= factor;
    factor *= factor;
  }
  return static_cast<std::int64_t>(result);
}

Number whole_of_two(const Call& call, Number a, Number b) {
  const std::string& op = call.op();
  if (op == "Add" || op == "Sum") return {a.n + b.n, sum(a.c, b.c)};
  if (op == "Sub")
    return {a.n - b.n, sum(a.c, static_cast<std::int64_t>(0 - static_cast<std::uint64_t>(b.c)))};
  if (op == "Mul") return times(a, b);
  if (op == "Div") return quotient(a, b);
  if (op == "Equal") return {0, same(a, b)};
  if ((op == "Max" || op == "Min") && a == b) return a;
  const std::int64_t x = plain(a), y = plain(b);
  if (op == "Max") return {0, std::max(x, y)};
  if (op == "Min") return {0, std::min(x, y)};
  if (op == "Greater") return {0, x > y};
  if (op == "GreaterOrEqual") return {0, x >= y};
  if (op == "Less") return {0, x < y};
  if (op == "LessOrEqual") return {0, x <= y};
  if (op == "And") return {0, x != 0 && y != 0};
  if (op == "Or") return {0, x != 0 || y != 0};
  if (op == "Xor") return {0, (x != 0) != (y != 0)};
  if (op == "Pow") return {0, power(x, y)};
  if (y == 0) throw usage_error("a remainder of whole numbers by 0");  // Mod
  if (y == -1) return {0, 0};
  const std::int64_t remainder = x % y;
  const bool other_sign =
      call.whole("fmod", 0) == 0 && remainder != 0 && (remainder < 0) != (y < 0);
  return {0, other_sign ? remainder + y : remainder};
}

double real_of_two(const Call& call, double a, double b) {
  const std::string& op = call.op();
  if (op == "Add" || op == "Sum") return a + b;
  if (op == "Sub") return a - b;
  if (op == "Mul") return a * b;
  if (op == "Div") return a / b;
  if (op == "Pow") return std::pow(a, b);
  if (op == "Max") return std::isnan(a) || std::isnan(b) ? NAN : std::max(a, b);
  if (op == "Min") return std::isnan(a) || std::isnan(b) ? NAN : std::min(a, b);
  if (op == "Equal") return a == b;
  if (op == "Greater") return a > b;
  if (op == "GreaterOrEqual") return a >= b;
  if (op == "Less") return a < b;
  if (op == "LessOrEqual") return a <= b;
  if (op == "Mod") return std::fmod(a, b);
  throw usage_error("it is of truth values, not of floating numbers");
}

double real_of_one(const std::string& op, double x) {
  if (op == "Abs") return std::abs(x);
  if (op == "Ceil") return std::ceil(x);
  if (op == "Exp") return std::exp(x);
  if (op == "Floor") return std::floor(x);
  if (op == "Log") return std::log(x);
  if (op == "Neg") return -x;
  if (op == "Reciprocal") return 1 / x;
  if (op == "Relu") return x > 0 ? x : 0;
  if (op == "Round") return std::nearbyint(x);
  if (op == "Sign") return x > 0 ? 1 : x < 0 ? -1 : x;
  if (op == "Sqrt") return std::sqrt(x);
  throw usage_error("it is of truth values, not of floating numbers");
}

Number whole_of_one(const std::string& op, Number x) {
  if (op == "Neg") return times(x, {0, -1});
  const std::int64_t v = plain(x);
  if (op == "Abs") return {0, v < 0 ? -v : v};
  if (op == "Not") return {0, v == 0};
  if (op == "Relu") return {0, std::max<std::int64_t>(v, 0)};
  if (op == "Sign") return {0, (v > 0) - (v < 0)};
  throw usage_error("it is of floating numbers, not of whole ones");
}

// The answer is true or false.
bool is_boolean(const std::string& op) {
  return op == "Equal" || op.starts_with("Greater") || op.starts_with("Less") || op == "And" ||
         op == "Or" || op == "Xor";
}

Shape broadcast(const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  Shape both(std::vector<std::int64_t>(static_cast<std::size_t>(rank), 1));
  for (int back = 1; back <= rank; ++back) {
    const std::int64_t x = back <= a.rank() ? a[a.rank() - back] : 1;
    const std::int64_t y = back <= b.rank() ? b[b.rank() - back] : 1;
    if (x != y && x != 1 && y != 1) {
      throw usage_error("{} and {} do not broadcast", to_string(a), to_string(b));
    }
    both[rank - back] = x == 1 ? y : x;
  }
  return both;
}

// The element of `shape` that element i of `wide`, to which it broadcasts, repeats.
std::int64_t source(const Shape& wide, const Shape& shape, std::int64_t i) {
  std::int64_t at = 0, stride = 1;
  for (int back = 1; back <= wide.rank(); ++back) {
    const std::int64_t extent = wide[wide.rank() - back];
    const std::int64_t index = i % extent;
    i /= extent;
    if (back > shape.rank()) continue;
    const std::int64_t own = shape[shape.rank() - back];
    if (own != 1) at += index * stride;
    stride *= own;
  }
  return at;
}

std::shared_ptr<Known> of_two(const Call& call, const Known& a, const Known& b) {
  const bool real = is_floating(a.type) || is_floating(b.type);
  const auto result =
      call.make(is_boolean(call.op()) ? Element::boolean : a.type, broadcast(a.shape(), b.shape()));
  for (std::int64_t i = 0; i < result->elements(); ++i) {
    const std::int64_t x = source(result->shape(), a.shape(), i);
    const std::int64_t y = source(result->shape(), b.shape(), i);
    if (real) {
      put(*result, i, real_of_two(call, real_at(a, x), real_at(b, y)));
    } else {
      put(*result, i, whole_of_two(call, number_at(a, x), number_at(b, y)));
    }
  }
  return result;
}

}  // namespace

void fold_elementwise(Call& call) {
  const Known& first = call.known(0);
  if (call.operands() == 1) {
    const auto result = call.make(first.type, first.shape());
    for (std::int64_t i = 0; i < result->elements(); ++i) {
      if (call.op() == "Max" || call.op() == "Min" || call.op() == "Sum") {
        is_floating(first.type) ? put(*result, i, real_at(first, i))
                                : put(*result, i, number_at(first, i));
      } else if (is_floating(first.type)) {
        put(*result, i, real_of_one(call.op(), real_at(first, i)));
      } else {
        put(*result, i, whole_of_one(call.op(), number_at(first, i)));
      }
    }
    return call.give(result);
  }
  std::shared_ptr<Known> result = of_two(call, first, call.known(1));
  for (int k = 2; k < call.operands(); ++k) result = of_two(call, *result, call.known(k));
  call.give(result);
}

void fold_where(Call& call) {
  const Known &which = call.known(0), &yes = call.known(1), &no = call.known(2);
  const Shape shape = broadcast(broadcast(which.shape(), yes.shape()), no.shape());
  const auto result = call.make(yes.type, shape);
  for (std::int64_t i = 0; i < result->elements(); ++i) {
    const bool chosen = plain(number_at(which, source(shape, which.shape(), i))) != 0;
    const Known& from = chosen ? yes : no;
    const std::int64_t at = source(shape, from.shape(), i);
    if (is_floating(yes.type)) {
      put(*result, i, real_at(from, at));
    } else {
      put(*result, i, number_at(from, at));
    }
  }
  call.give(result);
}

void fold_cast(Call& call) {
  const Known& x = call.known(0);
  const Element to =
      call.op() == "CastLike" ? call.operand(1).type : static_cast<Element>(call.whole("to", 0));
  Value result = call.operand(0);  // a parameter stays the one it is
  if (held_in(to, "its output") == x.numbers.dtype() && to == x.type) return call.give(result);
  const auto numbers = call.make(to, x.shape());
  for (std::int64_t i = 0; i < numbers->elements(); ++i) {
    if (!is_floating(x.type)) {
      const Number n = number_at(x, i);
      if (is_floating(to) || to == Element::boolean) plain(n);
      put(*numbers, i, n);
    } else if (to == Element::boolean) {
      put(*numbers, i, Number{0, real_at(x, i) != 0});
    } else {
      put(*numbers, i, real_at(x, i));
    }
  }
  result.type = to;
  result.known = numbers;
  call.give(result);
}

void fold_reduce(Call& call) {
  const Known& x = call.known(0);
  const Shape& shape = x.shape();
  Shape kept = shape;
  const std::vector<int> axes = reduced_axes(call, shape.rank());
  for (const int axis : axes) kept[axis] = 1;
  const auto result = call.make(x.type, kept);
  const bool real = is_floating(x.type);
  std::vector<bool> begun(static_cast<std::size_t>(kept.elements()), false);
  for (std::int64_t i = 0; i < x.elements(); ++i) {
    const std::int64_t at = source(shape, kept, i);
    const bool first = !begun[static_cast<std::size_t>(at)];
    begun[static_cast<std::size_t>(at)] = true;
    const std::string& op = call.op();
    if (real) {
      const double v = real_at(x, i), old = first ? v : real_at(*result, at);
      put(*result, at,
          first                ? v
          : op == "ReduceMax"  ? std::max(old, v)
          : op == "ReduceMin"  ? std::min(old, v)
          : op == "ReduceProd" ? old * v
                               : old + v);
      continue;
    }
    const Number v = number_at(x, i), old = first ? v : number_at(*result, at);
    put(*result, at,
        first                ? v
        : op == "ReduceProd" ? times(old, v)
        : op == "ReduceSum"  ? Number{old.n + v.n, sum(old.c, v.c)}
        : op == "ReduceMax"  ? Number{0, std::max(plain(old), plain(v))}
                             : Number{0, std::min(plain(old), plain(v))});
  }
  for (std::size_t i = 0; i < begun.size(); ++i) {  // of nothing
    if (!begun[i]) put(*result, static_cast<std::int64_t>(i), Number{0, call.op() == "ReduceProd"});
  }
  if (call.whole("keepdims", 1) != 0) return call.give(result);
  std::vector<std::int64_t> extents;
  for (int a = 0; a < shape.rank(); ++a) {
    if (std::find(axes.begin(), axes.end(), a) == axes.end()) extents.push_back(shape[a]);
  }
  result->numbers = result->numbers.reshape(Shape(std::span<const std::int64_t>(extents)));
  call.give(result);
}

}  // namespace tapescope::onnx
