#!/usr/bin/env python3
"""A ModemManager of two made modems on a bus whose address is in the environment, told what to do line by line on its
standard input: lte RSRP RSRQ SNR RSSI, nr RSRP RSRQ SNR, cell ID, access BITS, unplug, plug, hang SECONDS, quit. Says
"ready", and each call of Setup, on its standard output."""
import sys
import time

import dbus
import dbus.service
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

MM = "org.freedesktop.ModemManager1"
ROOT = "/org/freedesktop/ModemManager1"
UNKNOWN = -sys.float_info.max


def levels(**values):
    return dbus.Dictionary({k: dbus.Double(v, variant_level=1) for k, v in values.items()}, signature="sv")


class Modem(dbus.service.Object):
    def __init__(self, bus, index, imei, device):
        self.path = f"{ROOT}/Modem/{index}"
        super().__init__(bus, self.path)
        self.ci = "1A2B"
        self.all = {
            MM + ".Modem": {
                "EquipmentIdentifier": dbus.String(imei),
                "AccessTechnologies": dbus.UInt32(1 << 14),
                "SignalQuality": dbus.Struct((dbus.UInt32(61), dbus.Boolean(True)), signature="ub"),
                "State": dbus.Int32(11),
                "Ports": dbus.Array([dbus.Struct((device, dbus.UInt32(2)), signature="su"),
                                     dbus.Struct(("cdc-wdm0", dbus.UInt32(6)), signature="su")], signature="(su)"),
            },
            MM + ".Modem.Modem3gpp": {"OperatorCode": dbus.String("00101"), "RegistrationState": dbus.UInt32(1)},
            MM + ".Modem.Signal": {
                "Rate": dbus.UInt32(0),
                "Lte": levels(rsrp=-90, rsrq=-9, snr=14, rssi=-62),
                "Nr5g": levels(),
                "Umts": levels(),
            },
        }

    def change(self, interface, key, value):
        self.all[MM + interface][key] = value
        self.PropertiesChanged(MM + interface, {key: value}, [])

    @dbus.service.method("org.freedesktop.DBus.Properties", in_signature="s", out_signature="a{sv}")
    def GetAll(self, interface):
        return dbus.Dictionary(self.all[interface], signature="sv")

    @dbus.service.signal("org.freedesktop.DBus.Properties", signature="sa{sv}as")
    def PropertiesChanged(self, interface, changed, gone):
        pass

    @dbus.service.method(MM + ".Modem.Signal", in_signature="u")
    def Setup(self, rate):
        print(f"setup {self.path} {int(rate)}", flush=True)
        self.change(".Modem.Signal", "Rate", dbus.UInt32(rate))

    @dbus.service.method(MM + ".Modem", out_signature="aa{sv}")
    def GetCellInfo(self):
        def cell(serving, ci):
            return dbus.Dictionary({"serving": dbus.Boolean(serving), "cell-type": dbus.UInt32(5), "ci": ci,
                                    "operator-id": "00101", "rsrp": dbus.Double(-90)}, signature="sv")
        return dbus.Array([cell(False, "FFFF"), cell(True, self.ci)], signature="a{sv}")


class Root(dbus.service.Object):
    def __init__(self, bus):
        super().__init__(bus, ROOT)
        self.modems = []

    @dbus.service.method("org.freedesktop.DBus.ObjectManager", out_signature="a{oa{sa{sv}}}")
    def GetManagedObjects(self):
        return dbus.Dictionary({dbus.ObjectPath(m.path): {i: dbus.Dictionary(p, signature="sv")
                                                          for i, p in m.all.items()} for m in self.modems},
                               signature="oa{sa{sv}}")

    @dbus.service.signal("org.freedesktop.DBus.ObjectManager", signature="oa{sa{sv}}")
    def InterfacesAdded(self, path, interfaces):
        pass

    @dbus.service.signal("org.freedesktop.DBus.ObjectManager", signature="oas")
    def InterfacesRemoved(self, path, interfaces):
        pass


def main():
    DBusGMainLoop(set_as_default=True)
    bus = dbus.bus.BusConnection(sys.argv[1])
    root = Root(bus)
    root.modems = [Modem(bus, 0, "350000000000001", "wwan7"), Modem(bus, 3, "350000000000002", "wwan0")]
    ours = root.modems[1]
    name = dbus.service.BusName(MM, bus)
    loop = GLib.MainLoop()

    def order(stream, _):
        word = stream.readline().decode().split()
        if not word or word[0] == "quit":
            loop.quit()
        elif word[0] == "lte":
            value = [float(w) if w != "unknown" else UNKNOWN for w in word[1:]]
            ours.change(".Modem.Signal", "Lte", levels(**dict(zip(("rsrp", "rsrq", "snr", "rssi"), value))))
        elif word[0] == "nr":
            ours.change(".Modem.Signal", "Nr5g", levels(**dict(zip(("rsrp", "rsrq", "snr"), map(float, word[1:])))))
        elif word[0] == "cell":
            ours.ci = word[1]
        elif word[0] == "access":
            ours.change(".Modem", "AccessTechnologies", dbus.UInt32(int(word[1], 0)))
        elif word[0] == "unplug":
            root.modems.remove(ours)
            root.InterfacesRemoved(dbus.ObjectPath(ours.path), list(ours.all))
            ours.remove_from_connection()
        elif word[0] == "plug":
            ours.add_to_connection(bus, ours.path)
            root.modems.append(ours)
            root.InterfacesAdded(dbus.ObjectPath(ours.path), {})
        elif word[0] == "hang":
            time.sleep(float(word[1]))
        return True

    # Unbuffered: two orders at once are two times readable.
    GLib.io_add_watch(open(0, "rb", buffering=0), GLib.IO_IN | GLib.IO_HUP, order)
    print("ready", flush=True)
    loop.run()
    del name


main()
