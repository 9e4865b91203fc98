// Names from outside, as they may be shown; JSON whatever its strings hold.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/tools/temporary_folder.h"
#include "tools/files/json_file.h"
#include "tools/files/json_number.h"
#include "tools/files/json_text.h"
#include "tools/files/text.h"
#include "tools/training/environment.h"

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

TEST(JsonNumber, IsWholeAndFits) {
  const auto as_int = [](const char* text) { return whole_in<int>(nlohmann::json::parse(text)); };
  EXPECT_EQ(as_int("0"), 0);
  EXPECT_EQ(as_int("2147483647"), 2147483647);
  EXPECT_EQ(as_int("-2147483648"), -2147483647 - 1);
  for (const char* text : {"2147483648", "-2147483649", "4294967297", "18446744073709551615", "1.0",
                           "1e300", "true", "null", "\"1\"", "[1]"}) {
    EXPECT_EQ(as_int(text), std::nullopt) << text;
  }
  const auto as_long = [](const char* text) {
    return whole_in<std::int64_t>(nlohmann::ordered_json::parse(text));
  };
  EXPECT_EQ(as_long("9223372036854775807"), INT64_MAX);
  EXPECT_EQ(as_long("-9223372036854775808"), INT64_MIN);
  EXPECT_EQ(as_long("9223372036854775808"), std::nullopt);
  EXPECT_EQ(whole_in<std::uint64_t>(nlohmann::json(-1)), std::nullopt);
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

// What anybody may have left in a run's folder: each is an error that says why, in a moment.
TEST(JsonFile, WhatNoProgramWroteIsRefused) {
  const TemporaryFolder folder;
  const auto refusal = [&](const std::string& text) {
    for (const char* name : {"x.json", "environment.json"}) std::ofstream(folder / name) << text;
    const std::string of_run = usage_message([&] { read_environment(folder / ""); });
    EXPECT_NE(of_run.find("environment.json' is damaged"), std::string::npos) << of_run;
    const std::string message = usage_message([&] { read_json_object(folder / "x.json"); });
    EXPECT_NE(message.find("x.json' is damaged"), std::string::npos) << message;
    EXPECT_LT(message.size(), 500u + (folder / "").string().size());
    return message;
  };
  constexpr std::size_t kDeep = 1000000;
  const std::string open(kDeep, '['), closed(kDeep, ']');
  for (const std::string& deep : {open, open + closed, "{\"options\": " + open + closed + "}"}) {
    EXPECT_NE(refusal(deep).find("more than 100 levels"), std::string::npos);
  }
  std::string wide = "{\"a\": 0";
  for (int i = 0; i < 200000; ++i) wide += fmt::format(", \"{}\": 0", i);
  EXPECT_NE(refusal(wide + "}").find("more than 1000 members"), std::string::npos);
  const std::string huge = "{\"a\": \"" + std::string(kMostJsonBytes, 'x') + "\"}";
  EXPECT_NE(refusal(huge).find("bytes, more than"), std::string::npos);
  for (const char* none : {"", "[1, 2]", "7", "{\"a\": 1", "{\"a\": 1}}", "\xff"}) refusal(none);
  std::ofstream(folder / "x.json") << "\xEF\xBB\xBF{\"a\": [1, 2]}";
  EXPECT_EQ(read_json_object(folder / "x.json").at("a").size(), 2u);
}

}  // namespace
}  // namespace tapescope
