// Names from outside, as they may be shown; JSON whatever its strings hold.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tools/files/json_text.h"
#include "tools/files/text.h"

namespace tapescope {
namespace {

TEST(Printable, LeavesNamesAsTheyAre) {
  for (const char* name : {"", "cat", "T-shirt/top", "Bl\u00fcte", "\u732b", "\U0001F431", "a b"}) {
    EXPECT_EQ(printable(name), name);
  }
}

TEST(Printable, EscapesWhatIsNoUtf8) {
  EXPECT_EQ(printable("caf\xe9.jpg"), "caf\\xe9.jpg");
  EXPECT_EQ(printable("\xc3"), "\\xc3");                               // cut off
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");                      // '/' in two bytes
  EXPECT_EQ(printable("\xe0\x80\xaf"), "\\xe0\\x80\\xaf");             // and in three
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");             // a surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80x"), "\\xf4\\x90\\x80\\x80x");  // beyond U+10FFFF
  EXPECT_EQ(printable("\xf0\x9f\x90"), "\\xf0\\x9f\\x90");
}

TEST(Printable, EscapesWhatMovesATerminal) {
  EXPECT_EQ(printable("\x1b[31mred\n"), "\\x1b[31mred\\x0a");
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(printable("\u009b31m"), "\\xc2\\x9b31m");               // C1's CSI
  EXPECT_EQ(printable("gpj.\u202etxt"), "gpj.\\xe2\\x80\\xaetxt");  // turns the rest around
}

TEST(JsonText, TakesAnyBytes) {
  const nlohmann::ordered_json json{{"path", "caf\xe9.jpg"}, {"n\xff", {1, "ok", nullptr}}};
  EXPECT_EQ(json_text(json), R"({"path":"caf\\xe9.jpg","n\\xff":[1,"ok",null]})");
  EXPECT_EQ(json_text(nlohmann::ordered_json{{"a", "Bl\u00fcte"}}), "{\"a\":\"Bl\u00fcte\"}");
}

TEST(JsonText, BracketsAreCountedOutsideOfStrings) {
  const auto nested = [](std::size_t levels) {
    return std::string(levels, '[') + std::string(levels, ']');
  };
  EXPECT_FALSE(nests_too_deep(""));
  EXPECT_FALSE(nests_too_deep(nested(100)));
  EXPECT_TRUE(nests_too_deep(nested(101)));
  EXPECT_TRUE(nests_too_deep(R"({"a": )" + nested(100) + "}"));
  EXPECT_TRUE(nests_too_deep(std::string(101, '[')));  // cut off
  std::string wide = "[";
  for (int i = 0; i < 1000; ++i) wide += R"({"a": []},)";
  EXPECT_FALSE(nests_too_deep(wide));
  EXPECT_FALSE(nests_too_deep("\"" + nested(200) + "\""));
  EXPECT_FALSE(nests_too_deep(R"("\")" + nested(200) + "\""));   // a quote in a string
  EXPECT_TRUE(nests_too_deep(R"(["\\",)" + nested(100) + "]"));  // a backslash ends one
}

TEST(JsonText, MembersAreCountedForEachObject) {
  const auto object = [](int count) {
    std::string text = "{";
    for (int i = 0; i < count; ++i) text += "\"a:" + std::to_string(i) + "\": 1, ";
    return text + "\"z\": 1}";
  };
  EXPECT_FALSE(has_huge_object(object(999)));
  EXPECT_TRUE(has_huge_object(object(1000)));
  EXPECT_FALSE(has_huge_object("[" + object(600) + ", " + object(600) + "]"));
  EXPECT_TRUE(has_huge_object("{\"a\": [" + object(1000) + "]}"));
  EXPECT_FALSE(has_huge_object("]}]:::"));
}

}  // namespace
}  // namespace tapescope
