from django.urls import path

from console.views import detect, entrance

app_name = "console"
urlpatterns = [
    path("", detect.DetectPage.as_view(), name="detect"),
    path("console/cards", detect.CardsData.as_view(), name="cards"),
    path("console/service", detect.ServiceData.as_view(), name="service"),
    path("login", entrance.LoginPage.as_view(), name="login"),
    path("logout", entrance.LogoutPage.as_view(), name="logout"),
]
