// Every element-wise function against a table from another program, mpmath, which knows nothing of
// functions.inc: all variants are made of that one file, so a wrong formula in it passes every
// comparison between them. tests/fixtures/make_elementwise.py makes the table.
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "kernels/elementwise/elementwise.h"
#include "tests/kernels/kernel_testing.h"

namespace tapescope {
namespace {

using namespace tapescope::testing;

struct Row {
  std::string line;
  double a = 0, b = 0, p0 = 0, p1 = 0, value = 0, terms = 0;
};
// The rows of one function and one pair of parameters, in the table's order.
using Key = std::tuple<std::string, int, double, double>;

const std::map<Key, std::vector<Row>>& table() {
  static const std::map<Key, std::vector<Row>> rows = [] {
    std::map<Key, std::vector<Row>> all;
    std::ifstream file(TAPESCOPE_SOURCE_DIR "/tests/fixtures/elementwise_values.tsv");
    std::string line;
    std::getline(file, line);
    while (std::getline(file, line)) {
      std::istringstream words(line);
      std::string name, word[7];
      words >> name;
      for (std::string& w : word) words >> w;
      const auto number = [&](int i) { return std::strtod(word[i].c_str(), nullptr); };
      Row row{line, number(1), number(2), number(3), number(4), number(5), number(6)};
      all[{name, static_cast<int>(number(0)), row.p0, row.p1}].push_back(row);
    }
    return all;
  }();
  return rows;
}

// Rounding of a few units in the last place, of what is added up; and what is below normal numbers.
template <class T>
void expect_row(T got, const Row& row) {
  const auto want = static_cast<double>(static_cast<T>(row.value));
  if (std::isnan(row.value) || std::isinf(want)) {
    EXPECT_TRUE(std::isnan(row.value) ? std::isnan(got) : static_cast<double>(got) == want)
        << got << " for " << row.line;
    return;
  }
  const double scale = std::max(std::fabs(row.value), row.terms);
  const double allowed = 8 * static_cast<double>(std::numeric_limits<T>::epsilon()) * scale +
                         static_cast<double>(std::numeric_limits<T>::min());
  EXPECT_NEAR(static_cast<double>(got), row.value, allowed) << row.line;
}

template <class T>
void expect_table(const std::string& variant) {
  SCOPED_TRACE(variant + " " + std::string(name_of(dtype_of<T>())));
  std::set<std::string> seen;
  for (const auto& [key, rows] : table()) {
    const auto& [name, arguments, p0, p1] = key;
    const auto n = static_cast<std::int64_t>(rows.size());
    std::vector<T> a, b, y(rows.size());
    for (const Row& row : rows) {
      a.push_back(static_cast<T>(row.a));
      b.push_back(static_cast<T>(row.b));
    }
    bool known = false;
    for (int f = 0; arguments == 1 && f < kUnaryFunctions; ++f) {
      const auto function = static_cast<Unary>(f);
      if (name_of(function) != name) continue;
      known = true;
      if (variant == "simd" && function == Unary::power) break;
      seen.insert(name);
      run(prepare(unary_variants(), variant, {dtype_of<T>(), function, n, p0, p1}), {a.data()},
          {y.data()});
    }
    for (int f = 0; arguments == 2 && f < kBinaryFunctions; ++f) {
      const auto function = static_cast<Binary>(f);
      if (name_of(function) != name) continue;
      known = true;
      if (variant == "simd" && function == Binary::pow) break;
      seen.insert(name);
      run(prepare(binary_variants(), variant, {dtype_of<T>(), function, {n}, {n}, p0, p1}),
          {a.data(), b.data()}, {y.data()});
    }
    ASSERT_TRUE(known) << "the table has '" << name << "', which is no function";
    if (!seen.contains(name)) continue;
    for (std::size_t i = 0; i < rows.size(); ++i) expect_row(y[i], rows[i]);
  }
  const std::size_t slow = variant == "simd" ? 2 : 0;
  EXPECT_EQ(seen.size() + slow, static_cast<std::size_t>(kUnaryFunctions + kBinaryFunctions))
      << "a function is missing from the table: add it to tests/fixtures/make_elementwise.py";
}

TEST(ElementwiseValues, ReferenceIsThatOfTheTable) {
  expect_table<double>("reference");
  expect_table<float>("reference");
}

TEST(ElementwiseValues, SimdIsThatOfTheTable) {
  for_each_isa([] { expect_table<float>("simd"); });
}

}  // namespace
}  // namespace tapescope
