// SPDX-License-Identifier: Apache-2.0
#include "worker/settings/settings.hpp"

#include "worker/error.hpp"
#include "worker/settings/command_line.hpp"
#include "worker/settings/mac.hpp"
#include "worker/settings/share_option.hpp"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace croft::worker {
namespace {

using nlohmann::json;

void expect_refused(const json& tree, const std::string& word) {
    try {
        const Settings settings = settings_from_json(tree);
        check(settings);
        FAIL() << "took " << tree << "; expected a message with '" << word << "'";
    } catch (const SettingsError& error) {
        EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
        EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    }
}

TEST(Settings, ComeBackFromTheirJson) {
    Settings settings;
    settings.name = "web";
    settings.processor = {4, false, 300, 50'000, 12'500, 0b1011, 2};
    settings.memory = {std::uint64_t{1} << 30, true};
    settings.serial_ports = {{"none"}, {"/tmp/console"}};
    settings.boot = {"/k", "/i", "quiet"};
    settings.drives = {{DriveSettings::Type::disk, 7, "/d.vhdx", "vhdx", true, "ABC-1"},
        {DriveSettings::Type::dvd, std::nullopt, "", "", false, ""}};
    settings.nics = {
        {5, "tap0", "br0", "02:00:00:00:00:01", 9000, 2, false, NicSettings::Process::own}};
    settings.control.socket = "/run/web";
    const json tree = to_json(settings);
    EXPECT_EQ(to_json(settings_from_json(tree)), tree);
}

TEST(Settings, KeepDefaultsForWhatIsNotThere) {
    const Settings settings = settings_from_json({{"boot", {{"kernel", "k"}}}});
    EXPECT_EQ(settings.processor.count, 1U);
    EXPECT_EQ(settings.memory.size, std::uint64_t{512} << 20);
    ASSERT_EQ(settings.serial_ports.size(), 1U);
    EXPECT_EQ(settings.serial_ports[0].connection, "stdio");
}

TEST(Settings, SayWhereAnErrorIs) {
    expect_refused(json::array(), "object");
    expect_refused({{"colour", "red"}}, "colour");
    expect_refused({{"processor", {{"cuont", 2}}}}, "processor.cuont");
    expect_refused({{"processor", {{"count", "two"}}}}, "processor.count");
    expect_refused({{"processor", {{"count", -1}}}}, "processor.count");
    expect_refused({{"processor", {{"count", 256}}}}, "processor.count");
    expect_refused({{"processor", {{"count", 0}}}, {"boot", {{"kernel", "k"}}}}, "processor.count");
    expect_refused({{"processor", {{"weight", 10'001}}}}, "processor.weight");
    expect_refused({{"processor", {{"weight", 0}}}}, "processor.weight");
    expect_refused({{"processor", {{"limit", 100'001}}}}, "processor.limit");
    expect_refused({{"processor", {{"limit", 0U}}}}, "processor.limit");
    expect_refused(
        {{"processor", {{"limit", 10U}, {"reservation", 11U}}}}, "processor.reservation");
    expect_refused({{"processor", {{"host_processors", "64"}}}}, "processor.host_processors");
    expect_refused({{"memory", {{"size", "lots"}}}}, "memory.size");
    expect_refused({{"memory", {{"size", true}}}}, "memory.size");
    expect_refused({{"serial_ports", {{{"connection", 7}}}}}, "serial_ports[0].connection");
    expect_refused({{"serial_ports", {1}}}, "serial_ports[0]");
    expect_refused(
        {{"serial_ports", {{{"connection", "unix:"}}}}, {"boot", {{"kernel", "k"}}}}, "unix:");
    expect_refused({{"drives", {{{"type", "tape"}}}}}, "drives[0].type");
    expect_refused({{"drives", {{{"path", "d"}}, {{"type", "disk"}}}}}, "drives[1].path");
    expect_refused({{"drives", {{{"path", "d"}, {"format", "qcow2"}}}}}, "drives[0].format");
    expect_refused({{"drives", json(65, {{"type", "dvd"}})}}, "65 drives");
    expect_refused({{"drives", {{{"type", "dvd"}, {"lun", 64U}}}}}, "drives[0].lun");
    expect_refused({{"drives", {{{"type", "dvd"}, {"lun", 3U}}, {{"type", "dvd"}, {"lun", 3U}}}}},
        "drives[1].lun");
    expect_refused({{"nics", {{{"mac", "02:00:00:00:00:01"}}}}}, "nics[0].tap");
    expect_refused({{"nics", {{{"tap", "sixteen letters."}}}}}, "nics[0].tap");
    expect_refused({{"nics", {{{"tap", "t"}, {"mac", "01:00:00:00:00:01"}}}}}, "nics[0].mac");
    expect_refused({{"nics", {{{"tap", "t"}, {"mac", "2:0:0:0:0:1"}}}}}, "nics[0].mac");
    expect_refused({{"nics", {{{"tap", "t"}, {"mtu", 60}}}}}, "nics[0].mtu");
    expect_refused({{"nics", {{{"tap", "t"}, {"queues", 65}}}}}, "nics[0].queues");
    expect_refused({{"nics", {{{"tap", "t"}, {"number", 8}}}}}, "nics[0].number");
    expect_refused({{"nics", {{{"tap", "t"}, {"process", "mine"}}}}}, "nics[0].process");
    expect_refused({{"nics", json(9, {{"tap", "t"}})}}, "9 NICs");
    expect_refused({{"boot", {{"kernel", ""}}}}, "boot.kernel");
}

TEST(Settings, KnowASocketFromAFile) {
    EXPECT_EQ((SerialPortSettings{"unix:/run/c"}.socket()), "/run/c");
    EXPECT_EQ((SerialPortSettings{"/run/unix:c"}.socket()), std::nullopt);
    EXPECT_EQ((SerialPortSettings{"stdio"}.socket()), std::nullopt);
}

TEST(ParseSize, TakesUnits) {
    EXPECT_EQ(parse_size("4096", ""), 4096U);
    EXPECT_EQ(parse_size("512M", ""), std::uint64_t{512} << 20);
    EXPECT_EQ(parse_size("2G", ""), std::uint64_t{2} << 30);
    EXPECT_EQ(parse_size("1T", ""), std::uint64_t{1} << 40);
    for (const char* text :
        {"", "M", "12X", "1MB", "-1", "1.5G", "99999999999999999999", "99999999999T"}) {
        EXPECT_THROW((void)parse_size(text, "--memory"), SettingsError) << text;
    }
}

CommandLine parse(std::vector<const char*> arguments) {
    return parse_command_line(arguments);
}

TEST(CommandLineTest, BecomesSettings) {
    const CommandLine line =
        parse({"--kernel", "k", "--initrd", "i", "--cmdline", "a b", "--memory", "1G",
            "--processors", "4", "--console", "none", "--control", "s", "--name", "n"});
    ASSERT_FALSE(line.text.has_value());
    EXPECT_EQ(line.settings.boot.kernel, "k");
    EXPECT_EQ(line.settings.boot.initial_ram_disk, "i");
    EXPECT_EQ(line.settings.boot.command_line, "a b");
    EXPECT_EQ(line.settings.memory.size, std::uint64_t{1} << 30);
    EXPECT_EQ(line.settings.processor.count, 4U);
    EXPECT_EQ(line.settings.serial_ports[0].connection, "none");
    EXPECT_EQ(line.settings.control.socket, "s");
    EXPECT_EQ(line.settings.name, "n");
}

TEST(Share, IsReadAsPeopleWriteIt) {
    EXPECT_EQ(parse_percent("25", ""), 25'000U);
    EXPECT_EQ(parse_percent("12.5", ""), 12'500U);
    EXPECT_EQ(parse_percent("0.001", ""), 1U);
    EXPECT_EQ(parse_percent("100", ""), 100'000U);
    EXPECT_EQ(parse_percent("100.000", ""), 100'000U);
    for (const char* text : {"", ".", "1.", ".5", "25%", "-1", "101", "100.001", "1.2345", "1.2.3",
             "1e1", " 1", "99999999999"}) {
        EXPECT_THROW((void)parse_percent(text, "--cap"), SettingsError) << text;
    }
    EXPECT_EQ(parse_processor_list("0-3,8", ""), 0x10fU);
    EXPECT_EQ(parse_processor_list("63,5-5", ""), std::uint64_t{1} << 63 | 0x20U);
    EXPECT_EQ(processor_list(0x10f), "0-3,8");
    EXPECT_EQ(processor_list(std::uint64_t{3} << 62), "62-63");
    EXPECT_EQ(processor_list(0), "");
    for (const char* text : {"", ",", "1,", "3-1", "64", "0-64", "-1", "1-", "x", "0x1", "1 2"}) {
        EXPECT_THROW((void)parse_processor_list(text, "--host-processors"), SettingsError) << text;
    }
}

TEST(CommandLineTest, TakesAShare) {
    const ProcessorSettings processor =
        parse({"--kernel", "k", "--weight", "300", "--cap", "50", "--reserve", "12.5",
                  "--host-processors", "1", "--node", "7"})
            .settings.processor;
    EXPECT_EQ(processor.weight, 300U);
    EXPECT_EQ(processor.limit, 50'000U);
    EXPECT_EQ(processor.reservation, 12'500U);
    EXPECT_EQ(processor.host_processors, 2U);
    EXPECT_EQ(processor.node, 7U);
    EXPECT_THROW((void)parse({"--kernel", "k", "--cap", "10", "--reserve", "20"}), SettingsError);
}

TEST(CommandLineTest, GoesBeforeTheSettingsFile) {
    const std::filesystem::path path = testing::TempDir() + "settings.json";
    std::ofstream(path) << R"({"memory": {"size": "64M"}, "boot": {"kernel": "from file"}})";
    const CommandLine line = parse({"--settings", path.c_str(), "--memory", "128M"});
    EXPECT_EQ(line.settings.boot.kernel, "from file");
    EXPECT_EQ(line.settings.memory.size, std::uint64_t{128} << 20);
}

TEST(CommandLineTest, TakesDrives) {
    const char* const words[] = {"--kernel", "k", "--dvd", "none", "--disk",
        "a,b.img,raw,serial=S/N=1,read-only", "--disk", "c.vhdx", "--dvd", "d.iso"};
    const std::vector<DriveSettings> drives = parse_command_line(words).settings.drives;
    ASSERT_EQ(drives.size(), 4U);
    EXPECT_EQ(drives[0].path, "a,b.img");
    EXPECT_EQ(drives[0].format, "raw");
    EXPECT_TRUE(drives[0].read_only);
    EXPECT_EQ(drives[0].serial, "S/N=1");
    EXPECT_EQ(drives[1].path, "c.vhdx");
    EXPECT_EQ(drives[1].format, "");
    EXPECT_FALSE(drives[1].read_only);
    EXPECT_EQ(drives[2].type, DriveSettings::Type::dvd);
    EXPECT_EQ(drives[2].path, "");
    EXPECT_EQ(drives[3].path, "d.iso");
}

TEST(CommandLineTest, TakesNics) {
    const Settings settings = parse(
        {"--kernel", "k", "--nic", "tap=tap0", "--nic",
            "tap=tap1,bridge=br0,mac=02-00-00-00-00-0A,mtu=9000,queues=3,number=5,process=own"})
                                  .settings;
    ASSERT_EQ(settings.nics.size(), 2U);
    EXPECT_EQ(settings.nics[0].tap, "tap0");
    EXPECT_EQ(settings.nics[1].bridge, "br0");
    EXPECT_EQ(settings.nics[1].mtu, 9000U);
    EXPECT_EQ(settings.nics[1].queues, 3U);
    EXPECT_EQ(settings.nics[1].number, 5U);
    EXPECT_EQ(settings.nics[0].process, NicSettings::Process::worker);
    EXPECT_EQ(settings.nics[1].process, NicSettings::Process::own);
    EXPECT_EQ(text_of(parse_mac(settings.nics[1].mac).value()), "02:00:00:00:00:0a");
    for (const char* nic :
        {"", "tap0", "tap=", "tap=t,colour=red", "tap=t,mtu=many", "tap=t,number=8"}) {
        EXPECT_THROW((void)parse({"--kernel", "k", "--nic", nic}), SettingsError) << nic;
    }
}

TEST(Mac, IsTheSameForTheSamePlace) {
    const std::string first = text_of(default_address("web", 0));
    EXPECT_EQ(first.substr(0, 9), "00:15:5d:");
    EXPECT_EQ(text_of(default_address("web", 0)), first);
    EXPECT_NE(text_of(default_address("web", 1)), first);
    EXPECT_NE(text_of(default_address("mail", 0)), first);
}

TEST(CommandLineTest, RefusesWhatItDoesNotKnow) {
    EXPECT_THROW((void)parse({"--kernel"}), SettingsError);
    EXPECT_THROW((void)parse({"--colour", "red"}), SettingsError);
    EXPECT_THROW((void)parse({"k"}), SettingsError);
    EXPECT_THROW((void)parse({}), SettingsError);
    EXPECT_THROW((void)parse({"--kernel", "k", "--processors", "many"}), SettingsError);
    EXPECT_THROW((void)parse({"--settings", "/nonexistent/file"}), SettingsError);
}

TEST(CommandLineTest, RefusesASettingsFileThatIsNoJson) {
    const std::filesystem::path path = testing::TempDir() + "broken.json";
    std::ofstream(path) << "{\"memory\": ";
    EXPECT_THROW((void)parse({"--settings", path.c_str()}), SettingsError);
}

TEST(CommandLineTest, HasHelpAndVersion) {
    EXPECT_NE(parse({"--help"}).text.value_or("").find("--kernel"), std::string::npos);
    EXPECT_NE(parse({"--version"}).text.value_or("").find("croft-worker"), std::string::npos);
}

} // namespace
} // namespace croft::worker
